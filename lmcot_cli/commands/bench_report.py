"""What `lmcot bench` shows: progress on stderr, and at the end a table and advice, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from lmcot_cli.bench.report import half_range
from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.printable import printable
from lmcot_cli.commands.scoring_arguments import write_json

if TYPE_CHECKING:
    from rich.table import Table

    from lmcot_cli.bench.report import BenchReport, ModelRates, WidthRates

MB = 1_000_000
UNSTEADY = 0.1
"""Half the range of the repeats, as a share of the rate, from which on a warning is printed."""
COLUMNS = ("", "at\nonce", "tokens\n/s", "+-", "reading\n/s", "peak\nMB", "stated\nMB")
LEGEND = (
    "tokens/s: written tokens per second, reading the prompts included; +-: half the range of the repeats",
    "reading/s: prompt tokens read per second; stated: the peak memory that the engine states beforehand",
)


def announce(what: str) -> None:
    """Say on stderr what is measured next."""
    typer.echo(f"measuring {printable(what)}", err=True)


def show(report: BenchReport, *, as_json: bool) -> None:
    """Print what was measured; nothing if nothing was measured."""
    if not report.measured:
        return
    if as_json:
        write_json(report.as_json())
        return
    with stdout_console() as console:
        for line in _heading(report):
            console.print(line, markup=False, soft_wrap=True)
        console.print()
        console.print(_table(report))
        for line in [*LEGEND, *_advice(report), *_warnings(report)]:
            console.print(line, markup=False, soft_wrap=True)


def _heading(report: BenchReport) -> list[str]:
    machine, options = report.machine, report.options
    work = options.workload
    return [
        *(_facts(one) for one in report.measured),
        f"{work.prompts} prompts of {work.prompt_tokens} tokens x {work.samples} samples of {work.new_tokens} tokens,"
        f" temperature {work.temperature:g}, top-p {work.top_p:g}",
        f"{machine['processor']}, {machine['cores']} cores, {options.threads} threads;"
        f" llama-cpp-python {report.versions['llama-cpp-python']}; median of {options.repeats}",
    ]


def _facts(rates: ModelRates) -> str:
    model = rates.model
    return (
        f"{printable(str(model['spec']))}: {model['parameters'] / 1e6:,.1f}M parameters, {model['quantization']},"
        f" {model['file_bytes'] / MB:,.1f} MB"
    )


def _table(report: BenchReport) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for rates in report.measured:
        for number, one in enumerate(rates.widths):
            table.add_row("" if number else str(rates.model["quantization"]), *_cells(one))
    return table


def _cells(one: WidthRates) -> list[str]:
    return [
        str(one.width),
        f"{one.tokens_per_s:,.0f}",
        f"{half_range(one.runs):.0%}" if len(one.runs) > 1 else "-",
        f"{one.reading:,.0f}",
        "-" if one.peak_memory is None else f"{one.peak_memory / MB:,.0f}",
        f"{one.stated_memory / MB:,.0f}",
    ]


def _advice(report: BenchReport) -> Iterator[str]:
    """Say which settings to use for each model, and which model is the fastest."""
    rates: dict[str, float] = {}
    for one in report.measured:
        if (chosen := one.recommended) is None:
            continue
        spec = printable(str(one.model["spec"]))
        rates[spec] = chosen.tokens_per_s
        yield f"use --parallel {chosen.width} with {spec}: {chosen.tokens_per_s:,.0f} tokens/s"
    if len(rates) > 1:
        fastest, other = sorted(rates, key=lambda spec: -rates[spec])[:2]
        yield f"fastest: {fastest}, {rates[fastest] / rates[other]:.2f} times {other}"


def _warnings(report: BenchReport) -> list[str]:
    """Say where the repeats differ too much to compare a width with others."""
    return [
        f"warning: the repeats of {printable(str(rates.model['spec']))} at width {one.width} differ a lot"
        f" ({half_range(one.runs):.0%}); was another program busy meanwhile?"
        for rates in report.measured
        for one in rates.widths
        if half_range(one.runs) > UNSTEADY
    ]
