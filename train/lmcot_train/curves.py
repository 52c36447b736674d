"""Draw the curves of a run from its metrics, and read them back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmcot_cli.errors import InputError
from lmcot_train.run_folder import cannot_write

Panels = Mapping[str, Sequence[str]]
"""The title of each panel, and the metrics that it shows."""


def read_metrics(path: Path, numbered: str = "step") -> list[dict[str, Any]]:
    """Read what a run logged, if anything, without a last line that was cut off when it was killed.

    Args:
        path: The log.
        numbered: The field that holds the number of the step in every record.

    Raises:
        InputError: Another line is damaged, or the file cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return [_record(line, f"{path}:{number}", numbered) for number, line in enumerate(lines, 1)]


def _record(line: bytes, place: str, numbered: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        if not isinstance(record, dict) or not isinstance(record.get(numbered), int | float):
            raise ValueError(f"it has no number in {numbered}")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: the line is damaged ({error}): delete it, or start anew with --overwrite"
        ) from error
    return record


def draw_curves(metrics: Path, output: Path, panels: Panels) -> None:
    """Draw metrics over steps as a PNG with one panel below the other, without panels that have no value.

    Raises:
        InputError: A line of the metrics is damaged.
        OutputError: The picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = read_metrics(metrics)
    shown = {title: names for title, names in panels.items() if any(n in r for r in records for n in names)}
    figure = Figure(figsize=(7, 0.5 + 2.6 * max(len(shown), 1)), layout="constrained")
    for number, (title, names) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(len(shown), 1, number, title=title, xlabel="step")
        for name in names:
            if points := [(record["step"], record[name]) for record in records if name in record]:
                axes.plot(*zip(*points, strict=True), label=name.replace("_", " "))
        axes.grid(alpha=0.3)
        axes.legend()
    try:
        FigureCanvasAgg(figure).print_png(output)
    except OSError as error:
        raise cannot_write(output, error) from error
