"""Draw the curves of a run from its metrics, and read them back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmcot_train.run_folder import cannot_write

Panels = Mapping[str, Sequence[str]]
"""The title of each panel, and the metrics it shows."""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read what a run logged; a last line that was torn when it was killed is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def draw_curves(metrics: Path, output: Path, panels: Panels) -> None:
    """Draw metrics over steps as a PNG, one panel below the other; panels without a value are left out.

    Raises:
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
            points = [(record["step"], record[name]) for record in records if name in record]
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " ")) if points else None
        axes.grid(alpha=0.3)
        axes.legend()
    try:
        FigureCanvasAgg(figure).print_png(output)
    except OSError as error:
        raise cannot_write(output, error) from error
