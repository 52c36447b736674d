"""`lmcot revote`: what other stopping rules and votes would make of stored samples."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.scoring_arguments import (
    SCORING,
    GoldOption,
    JsonOption,
    percent,
    points_interval,
    refuse_stdin_twice,
    write_json,
)
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.pipeline.vote import VoteBy
from lmcot_cli.scoring.options import ScoringOptions
from lmcot_cli.settings.declaration import Given, build, takes

if TYPE_CHECKING:
    from rich.table import Table

    from lmcot_cli.pipeline.revote import Outcome
    from lmcot_cli.scoring.intervals import Estimate

_RULES = ("none", "lossless", "beta:0.95", "window:5")
_CAPTION = (
    "samples: mean number drawn per row. fewer: how many times fewer. EM in percent, and its change from all samples"
    " in points, with 95% bootstrap intervals. changed: rows whose winner differs from that of all samples."
)

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot answer q.jsonl --samples 40 --stop none -o stored.jsonl[/cyan]  store all samples

[cyan]lmcot revote stored.jsonl[/cyan]  what each rule would have saved, and cost

[cyan]lmcot revote stored.jsonl --samples 16 --stop beta:0.9 --stop beta:0.99[/cyan]
"""


@takes(RowOptions, ScoringOptions, only=SCORING)
def revote(
    given: Given,
    answers: Annotated[Path, typer.Argument(metavar="FILE", help="Results with all samples; - for stdin.")],
    gold: GoldOption = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            "--stop",
            metavar="RULE",
            help="Rule to replay; give it again for several.",
            show_default=", ".join(_RULES),
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", "-k", help="Samples of each row to use, the first ones.", show_default="all"
        ),
    ] = None,
    vote: Annotated[VoteBy, typer.Option("--vote", help="Weight of a sample's vote.")] = "majority",
    as_json: JsonOption = False,
) -> None:
    """Replay stopping rules and votes on stored samples: samples used, exact match, and winners that change."""
    from lmcot_cli.pipeline import revote as replay
    from lmcot_cli.scoring.answers import read_answers, read_gold

    refuse_stdin_twice(answers, gold)
    options = build(ScoringOptions, given)
    golds = read_gold(gold, build(RowOptions, given)) if gold else None
    outcomes = replay.revote(
        read_answers(answers), golds, stop or _RULES, samples=samples, vote=vote, options=options
    )
    if as_json:
        write_json(asdict(options) | {"vote": vote, "rules": [asdict(outcome) for outcome in outcomes]})
    else:
        with stdout_console() as console:
            console.print(_table(outcomes))
            console.print(_CAPTION, style="dim")


def _table(outcomes: list[Outcome]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("--stop", no_wrap=True)
    for heading in ("samples", "fewer", "EM", "change", "changed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        figures = [f"{outcome.samples:.1f}", f"{outcome.times_fewer:.1f}", _interval(outcome.exact_match)]
        if outcome.stop != "none":  # which draws all samples: nothing to compare
            change = points_interval(outcome.difference) if outcome.difference else "-"
            figures += [change, str(outcome.other_winners)]
        table.add_row(outcome.stop, *figures)
    return table


def _interval(estimate: Estimate | None) -> str:
    """Return a score as `48.0 (45.1 to 51.2)`, in percent."""
    if estimate is None:
        return "-"
    return f"{percent(estimate.mean)} ({percent(estimate.low)} to {percent(estimate.high)})"
