"""`lmcot compare`: is one way of answering better than another on the same questions?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.printable import as_text
from lmcot_cli.commands.scoring_arguments import (
    SCORING,
    GoldOption,
    JsonOption,
    percent,
    points_interval,
    refuse_stdin_twice,
    report_ids,
    write_json,
)
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.scoring.options import ScoringOptions
from lmcot_cli.settings.declaration import Given, build, takes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lmcot_cli.scoring.comparison import Comparison, Flip


EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot compare standard.jsonl guided.jsonl[/cyan]  is guided better?

[cyan]lmcot compare standard.jsonl guided.jsonl --show 0 --json[/cyan]  the figures, for a program
"""


@takes(RowOptions, ScoringOptions, only=SCORING)
def compare(
    given: Given,
    a: Annotated[Path, typer.Argument(metavar="A", help="What `lmcot answer` wrote; - for stdin.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Other answers to the same questions.")],
    gold: GoldOption = None,
    show: Annotated[int, typer.Option("--show", min=0, help="Flipped rows to show.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Compare two files of answers row by row: the difference B - A with its 95% interval, and rows that flipped."""
    from lmcot_cli.scoring import comparison
    from lmcot_cli.scoring.answers import read_answers, read_gold

    refuse_stdin_twice(a, b, gold)
    options = build(ScoringOptions, given)
    golds = read_gold(gold, build(RowOptions, given)) if gold else None
    result = comparison.compare(read_answers(a), read_answers(b), golds, options)
    report_ids(result.only_in_a, f"rows of {a} only, not compared")
    report_ids(result.only_in_b, f"rows of {b} only, not compared")
    report_ids(result.without_gold, "rows without a gold answer, not compared")
    if as_json:
        write_json(asdict(options) | asdict(result))
    else:
        _print_tables(result, options, show)


def _print_tables(result: Comparison, options: ScoringOptions, show: int) -> None:
    test = result.mcnemar
    with stdout_console() as console:
        console.print(_difference_table(result))
        console.print(
            f"\nRight only in A: {test.only_a_right}, only in B: {test.only_b_right};"
            f" exact McNemar test p = {test.p_value:.3g}."
        )
        console.print(
            f"{result.rows} rows. Percent, with 95% paired bootstrap intervals. Rules of {options.rules}.",
            style="dim",
        )
        _print_flips(console, result.flips[:show])
    if hidden := len(result.flips[show:]):
        typer.echo(
            f"note: flipped rows not shown: {hidden} (--show {len(result.flips)} shows them all)", err=True
        )


def _difference_table(result: Comparison) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for heading in ("A", "B", "B - A"):
        table.add_column(heading, justify="right")
    for name, score in (("EM", result.exact_match), ("F1", result.f1)):
        table.add_row(name, percent(score.a), percent(score.b), points_interval(score.difference))
    return table


def _print_flips(console: Console, flips: Sequence[Flip]) -> None:
    for flip in flips:
        console.print()
        console.print(as_text(f"{flip.id} ({flip.right.upper()} is right)", style="bold"), soft_wrap=True)
        lines = {"question": flip.question, "A": flip.a, "B": flip.b, "gold": " | ".join(flip.gold)}
        for label, text in lines.items():
            console.print(f"  {label + ':':<9}", as_text(text), soft_wrap=True)
