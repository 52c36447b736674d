"""Draw a benchmark: tokens per second against width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmcot_cli.errors import MissingExtraError, OutputError, UsageError
from tools.bench.report import ComparisonReport

SIZE = (8.0, 5.0)  # inches
DPI = 150


def check_plot(path: Path) -> None:
    """Check that a plot can be drawn there, before anything is measured.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: The file is no PNG.
        OutputError: Its folder does not exist.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise MissingExtraError("--plot", "plot")
    if path.suffix.lower() != ".png":
        raise UsageError(f"--plot {path}: name a file that ends in .png")
    if not path.resolve().parent.is_dir():
        raise OutputError(f"{path}: its folder does not exist; create it first")


def draw(report: ComparisonReport, path: Path) -> None:
    """Draw the engine and the limit as curves, the other programs as level lines.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    _curves(axes, report)
    _levels(axes, report)
    axes.set(
        xlabel="sequences decoded at once",
        ylabel="written tokens per second",
        title=_title(report),
        ylim=(0, None),
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    try:
        figure.savefig(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def _curves(axes: Any, report: ComparisonReport) -> None:
    widths = [width.width for width in report.widths]
    if not widths:
        return
    axes.plot(widths, [width.limit for width in report.widths], "o--", color="0.6", label="bare llama_decode")
    rates = [width.tokens_per_s for width in report.widths]
    below = [rate - min(width.runs) for rate, width in zip(rates, report.widths, strict=True)]
    above = [max(width.runs) - rate for rate, width in zip(rates, report.widths, strict=True)]
    axes.errorbar(widths, rates, yerr=(below, above), fmt="o-", capsize=3, color="C0", label="lmcot")
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()


def _levels(axes: Any, report: ComparisonReport) -> None:
    levels = {f"{peer.name}, {peer.concurrency} at a time": peer.loop for peer in report.peers}
    if report.high_level:
        levels = {"llama-cpp-python, one at a time": report.high_level} | levels
    for index, (label, loop) in enumerate(levels.items(), start=1):
        axes.axhline(loop.tokens_per_s, linestyle=":", color=f"C{index}", label=label)


def _title(report: ComparisonReport) -> str:
    work, model = report.options.bench.workload, report.model
    return (
        f"{model['name'] or model['spec']}, {model['quantization']}\n"
        f"{work.prompts} prompts of {work.prompt_tokens} tokens, {work.samples} samples of {work.new_tokens};"
        f" threads: {report.options.bench.threads}"
    )
