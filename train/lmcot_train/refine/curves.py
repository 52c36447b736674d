"""A picture of a refining run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

PANELS = {
    "reward": ("reward", "validation_reward"),
    "right answers": ("task", "validation_task"),
    "KL to the reference, nats a rationale": ("kl",),
    "entropy, nats a token": ("entropy",),
    "clip fraction": ("clip_fraction",),
    "explained variance": ("explained_variance",),
}
"""Title of each panel, and the figures drawn in it."""


def draw_curves(records: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw what was logged, update by update, as a PNG."""
    matplotlib.use("Agg")
    figure = Figure(figsize=(10, 9), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(3, 2).flat, PANELS.items(), strict=True):
        for name in names:
            points = [(record["update"], record[name]) for record in records if name in record]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, marker="." if "validation" in name else "")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("update", fontsize=8)
        if len(names) > 1:
            axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
