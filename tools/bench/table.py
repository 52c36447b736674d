"""What the comparison shows: progress on stderr, and at the end one table, or JSON, and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lmcot_cli.bench.report import half_range
from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.printable import printable
from lmcot_cli.commands.scoring_arguments import write_json

if TYPE_CHECKING:
    from rich.table import Table

    from tools.bench.report import ComparisonReport, Loop, Width

MB = 1_000_000
UNSTEADY = 0.1
"""Half the range of a part's repeats, as a share of the rate, from which on a warning is printed."""
COLUMNS = (
    "",
    "at\nonce",
    "tokens\n/s",
    "+-",
    "limit",
    "of\nlimit",
    "x high\nlevel",
    "outside\ndecode",
    "prefill",
    "decode",
    "peak\nMB",
    "said\nMB",
)
LEGEND = (
    "tokens/s: written tokens per second, reading the prompts included; +-: half the range of the repeats",
    "said: peak memory as the engine states it beforehand",
    "limit: the same batches through llama_decode alone; prefill, decode: llama_decode on pure batches",
)


def announce(what: str) -> None:
    """Say on stderr what is measured next."""
    typer.echo(f"measuring {printable(what)}", err=True)


def show(report: ComparisonReport, *, as_json: bool, plot: Path | None) -> None:
    """Print what was measured, and draw it; nothing where nothing was measured."""
    if report.empty:
        return
    if as_json:
        write_json(report.as_json())
    else:
        _print(report)
    if plot:
        from tools.bench.plot import draw

        draw(report, plot)
        typer.echo(f"plot: {plot}", err=True)


def _print(report: ComparisonReport) -> None:
    with stdout_console() as console:
        for line in _heading(report):
            console.print(line, markup=False, soft_wrap=True)
        console.print()
        console.print(_table(report))
        for line in [*LEGEND, *_parts(report), *_ratios(report), *_warnings(report)]:
            console.print(line, markup=False, soft_wrap=True)


def _heading(report: ComparisonReport) -> list[str]:
    model, machine, options = report.model, report.machine, report.options.bench
    work = options.workload
    name = printable(str(model["name"] or model["spec"]))
    return [
        f"{name}: {model['parameters'] / 1e6:,.1f}M parameters, {model['quantization']},"
        f" {model['file_bytes'] / MB:,.1f} MB",
        f"{work.prompts} prompts of {work.prompt_tokens} tokens x {work.samples} samples of {work.new_tokens} tokens,"
        f" temperature {work.temperature:g}, top-p {work.top_p:g}",
        f"{machine['processor']}, {machine['cores']} cores, {options.threads} threads;"
        f" llama-cpp-python {report.versions['llama-cpp-python']}; median of {options.repeats}",
    ]


def _table(report: ComparisonReport) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    if report.high_level:
        table.add_row(*_loop_row("high level", 1, report.high_level, report))
    for width in report.widths:
        table.add_row(*_width_row(width, report))
    for peer in report.peers:
        table.add_row(*_loop_row(peer.name, peer.concurrency, peer.loop, report))
    return table


def _loop_row(name: str, at_once: int, loop: Loop, report: ComparisonReport) -> list[str]:
    rate, times, peak = (
        f"{loop.tokens_per_s:,.0f}",
        _times(report, loop.tokens_per_s),
        _megabytes(loop.peak_memory),
    )
    return [name, str(at_once), rate, _spread(loop.runs), "", "", times, "", "", "", peak, ""]


def _width_row(width: Width, report: ComparisonReport) -> list[str]:
    return [
        "lmcot",
        str(width.width),
        f"{width.tokens_per_s:,.0f}",
        _spread(width.runs),
        f"{width.limit:,.0f}",
        f"{width.of_limit:.0%}",
        _times(report, width.tokens_per_s),
        f"{width.outside_decode:.1%}",
        f"{width.bare_prefill:,.0f}",
        f"{width.bare_decode:,.0f}",
        _megabytes(width.peak_memory),
        _megabytes(width.stated_memory),
    ]


def _warnings(report: ComparisonReport) -> list[str]:
    """Say so where the repeats of a part differ too much to compare it with others."""
    runs = {f"lmcot at width {width.width}": width.runs for width in report.widths}
    runs |= {peer.name: peer.loop.runs for peer in report.peers}
    if report.high_level:
        runs = {"the high-level loop": report.high_level.runs} | runs
    return [
        f"warning: the repeats of {name} differ a lot ({half_range(ones):.0%}); did something else run meanwhile?"
        for name, ones in runs.items()
        if half_range(ones) > UNSTEADY
    ]


def _parts(report: ComparisonReport) -> list[str]:
    """Say what the time outside `llama_decode` went into, as shares of the whole."""
    return [
        f"outside decode at width {width.width}: "
        + ", ".join(f"{part} {share * width.outside_decode:.1%}" for part, share in width.parts.items())
        for width in report.widths
        if width.parts
    ]


def _ratios(report: ComparisonReport) -> list[str]:
    """Set the engine at its fastest width against the other programs."""
    best = report.best
    if best is None:
        return []
    others = {"the high-level loop": report.high_level} if report.high_level else {}
    others |= {f"{peer.name} with {peer.concurrency} at once": peer.loop for peer in report.peers}
    return [
        f"lmcot at width {best.width}: {best.tokens_per_s / loop.tokens_per_s:.2f} times {name}"
        for name, loop in others.items()
    ]


def _spread(runs: list[float]) -> str:
    return f"{half_range(runs):.0%}" if len(runs) > 1 else "-"


def _times(report: ComparisonReport, tokens_per_s: float) -> str:
    times = report.times_high_level(tokens_per_s)
    return "" if times is None else f"{times:.2f}"


def _megabytes(memory: int | None) -> str:
    return "-" if memory is None else f"{memory / MB:,.0f}"
