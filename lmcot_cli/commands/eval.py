"""`lmcot eval`: score answers, with intervals."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.printable import as_text
from lmcot_cli.commands.scoring_arguments import (
    INCLUSION,
    SCORING,
    GoldOption,
    JsonOption,
    percent,
    percent_interval,
    refuse_stdin_twice,
    report_ids,
    write_json,
)
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.streams import source_name
from lmcot_cli.scoring.options import ScoringOptions
from lmcot_cli.settings.declaration import Given, build, takes

if TYPE_CHECKING:
    from rich.table import Table

    from lmcot_cli.scoring.evaluation import Evaluation, GroupScores


EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot eval answers.jsonl[/cyan]  the gold answers came with the questions

[cyan]lmcot eval answers.jsonl --gold dev.json --rules 2wiki[/cyan]  they are in another file
"""


@takes(RowOptions, ScoringOptions, only=SCORING)
def evaluate(
    given: Given,
    answers: Annotated[
        Path, typer.Argument(metavar="ANSWERS", help="What `lmcot answer` wrote; - for stdin.")
    ],
    gold: GoldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score answers: exact match, F1 and inclusion, overall and per question type, with 95% intervals.

    Gold answers come with the questions or from --gold. A question of --gold without an answer counts as wrong.
    """
    from lmcot_cli.scoring import evaluation
    from lmcot_cli.scoring.answers import read_answers, read_gold

    refuse_stdin_twice(answers, gold)
    options = build(ScoringOptions, given)
    golds = read_gold(gold, build(RowOptions, given)) if gold else None
    result = evaluation.evaluate(read_answers(answers), golds, options, source_name(answers))
    _report_unpaired(result)
    if as_json:
        write_json(asdict(options) | asdict(result))
    else:
        _print_tables(result, options)


def _report_unpaired(result: Evaluation) -> None:
    report_ids(result.missing, "questions of the gold file without an answer, counted as wrong")
    report_ids(result.unknown, "answers without a question in the gold file, not scored")
    report_ids(result.without_gold, "questions without a gold answer, not scored")


def _print_tables(result: Evaluation, options: ScoringOptions) -> None:
    with stdout_console() as console:
        console.print(_score_table(result))
        if len(result.majority_at) > 1:
            console.print(_samples_table(result))
        elif result.stopped_early:
            console.print(
                f"{result.stopped_early} rows stopped early; answer with --stop none to see the scores of k samples.",
                style="dim",
            )
        console.print(
            f"Percent, with 95% intervals (bootstrap; Wilson near 0 and 100). Rules of {options.rules}.",
            style="dim",
        )
        console.print(INCLUSION, style="dim")


def _score_table(result: Evaluation) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    table.add_column("type", no_wrap=True)
    for heading in ("rows", "EM", "F1", "inclusion", "no answer"):
        table.add_column(heading, justify="right", min_width=4, overflow="fold")
    for kind, group in result.by_type.items():
        table.add_row(as_text(kind), *_cells(group))
    table.add_row("all", *_cells(result.overall), style="bold")
    return table


def _cells(group: GroupScores) -> list[str]:
    scores = (group.exact_match, group.f1, group.inclusion)
    return [str(group.rows), *map(percent_interval, scores), percent(group.unanswered)]


def _samples_table(result: Evaluation) -> Table:
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), title="\nEM of several samples", title_justify="left"
    )
    for heading in ("k", "vote of k (maj@k)", "one of k (pass@k)"):
        table.add_column(heading, justify="right")
    for k, majority in result.majority_at.items():
        table.add_row(str(k), percent_interval(majority), percent_interval(result.pass_at[k]))
    return table
