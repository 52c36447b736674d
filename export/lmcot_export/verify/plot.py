"""Draw size against divergence, and size against speed, to choose a type by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmcot_cli.errors import MissingExtraError
from lmcot_export.verify.report import Figures, Verification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MIB = 1024 * 1024


def draw(verifications: Sequence[Verification], path: Path) -> None:
    """Write a picture (its format as `path` ends) with a point for each export; rejected ones are crosses.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("--plot", "plot") from error
    figure = Figure(figsize=(10, 4), layout="constrained")
    divergence, rate = figure.subplots(1, 2)
    _scatter(divergence, verifications, "mean KL from the source, nats", _kl_mean)
    _scatter(rate, verifications, "tokens/s, 16 sequences at once", lambda figures: figures.tokens_per_second)
    # A full-precision export may diverge by exactly nothing, which a plain logarithmic scale cannot show.
    divergence.set_yscale("symlog", linthresh=1e-8)
    figure.savefig(path, dpi=150)


def _kl_mean(figures: Figures) -> float | None:
    return figures.where_used.kl_mean if figures.where_used else None


def _scatter(
    axes: Axes, verifications: Sequence[Verification], label: str, value: Callable[[Figures], float | None]
) -> None:
    for one in verifications:
        measured = value(one.figures)
        if measured is None:
            continue
        place: Any = (one.figures.bytes / _MIB, measured)
        axes.plot(*place, "o" if one.passed else "x", color="C0" if one.passed else "C3")
        axes.annotate(one.type, place, textcoords="offset points", xytext=(6, 4))
    axes.set_xlabel("size, MiB")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.margins(0.15)  # room for the names
