"""`lmcot train score` and `lmcot train fit-aspects`: the aspects of rationales, and their weights in the reward."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from lmcot_cli.commands.train_arguments import AspectWeightsOption, train_extra

if TYPE_CHECKING:
    from lmcot_train.rewards.scoring import RationaleToScore, ScoredRationale
    from lmcot_train.rewards.weights import Fit

SCORE_EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train score rationales.jsonl[/cyan]  each aspect of each rationale

[cyan]lmcot train score answers.jsonl --questions questions.jsonl --json[/cyan]  those in an output of `lmcot answer`
"""

FIT_EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train fit-aspects annotated.jsonl -o weights.json[/cyan]  rows with rationale and label, good or bad
"""


def score(
    rationales: Annotated[
        Path,
        typer.Argument(metavar="RATIONALES", help="Rows with a rationale, or an output of lmcot answer."),
    ],
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="FILE", help="The questions, for an output of lmcot answer."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="MODEL", help="LM that judges fluency: a folder or a hub id."),
    ] = None,
    aspect_weights: AspectWeightsOption = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=0, help="Rationales in the table.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Write JSONL instead of the table.")] = False,
) -> None:
    """Score rationales: the eight aspects, their mean, loops, and whether the answer was right, if that is known.

    Fluency needs --reference; without it the mean leaves fluency out.
    """
    with train_extra():
        from lmcot_train.rewards.aspects import EQUAL_WEIGHTS
        from lmcot_train.rewards.scoring import read_given
        from lmcot_train.rewards.scoring import score as score_all
        from lmcot_train.rewards.weights import load_weights

    given = read_given(rationales, questions)
    weights = load_weights(aspect_weights) if aspect_weights else EQUAL_WEIGHTS
    scored = score_all(given, weights, _logprobs(reference, given) if reference else None)
    if json:
        _write(scored)
    else:
        _show(scored, rows)


def fit_aspects(
    annotated: Annotated[
        Path, typer.Argument(metavar="ANNOTATED", help="Rows with rationale and label: good or bad.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Write the weights here, for `refine`.")
    ],
) -> None:
    """Fit the weights of the aspects to what people called good and bad, by logistic regression.

    Rows may have "logprob", the mean log-probability per token under the reference LM; unless all rows have it, fluency
    gets no weight.
    """
    with train_extra():
        from lmcot_train.rewards.weights import fit_weights, read_annotated, write_weights

    fit = fit_weights(read_annotated(annotated))
    write_weights(output, fit, annotated)
    _show_fit(fit)


def _logprobs(reference: str, given: list[RationaleToScore]) -> list[float | None]:
    from lmcot_train.models import is_encoder_decoder, open_base
    from lmcot_train.prompting import RationalePrompts
    from lmcot_train.rewards.scoring import mean_logprobs

    opened = open_base(reference)
    prompts = RationalePrompts(opened.tokenizer, encoder_decoder=is_encoder_decoder(opened.model))
    return list(mean_logprobs(opened, prompts, given))


def _write(scored: list[ScoredRationale]) -> None:
    from json import dumps

    from lmcot_cli.commands.stdout import write_data

    for one in scored:
        write_data(dumps(one.to_record()).encode() + b"\n")


def _show(scored: list[ScoredRationale], rows: int) -> None:
    """Print a line per rationale, and the means over all."""
    from rich.table import Table

    from lmcot_cli.commands.console import stdout_console
    from lmcot_cli.commands.printable import escaped

    names = list(scored[0].aspects)
    judged = [one.task for one in scored if one.task is not None]
    ends = ("mean", "loops", "right") if judged else ("mean", "loops")
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)
    for heading in (*(name[:4] for name in names), *ends):
        table.add_column(heading, justify="right", no_wrap=True, min_width=4)
    for one in scored[:rows]:
        values = [*one.aspects.values(), one.aspect_mean, one.loops]
        right = [{None: "", 1.0: "yes", 0.0: "no"}.get(one.task, "")] if judged else []
        table.add_row(escaped(one.given.row.id), *(f"{value:.2f}" for value in values), *right)
    means = [
        *(fmean(one.aspects[name] for one in scored) for name in names),
        fmean(one.aspect_mean for one in scored),
        fmean(one.loops for one in scored),
    ]
    right = [f"{fmean(judged):.2f}"] if judged else []
    table.add_row(f"all {len(scored):,}", *(f"{value:.2f}" for value in means), *right, style="bold")
    with stdout_console() as console:
        console.print(table)
    _explain(names, right=bool(judged))


def _explain(names: list[str], *, right: bool) -> None:
    """Explain the columns on stderr."""
    from rich.console import Console

    aspects = ", ".join(f"{name[:4]} {name}" for name in names)
    known = " right: whether the answer is the gold one, where both are known."
    Console(stderr=True).print(
        f"From 0 to 1, higher is better: {aspects}; mean: their weighted mean. loops: the share of words that repeat"
        f" what was just said, lower is better.{known if right else ''}",
        style="dim",
        highlight=False,
    )


def _show_fit(fit: Fit) -> None:
    from rich.table import Table

    from lmcot_cli.commands.console import stdout_console

    table = Table("aspect", box=None, pad_edge=False)
    for column in ("weight", "coefficient"):
        table.add_column(column, justify="right")
    for name, weight in sorted(fit.weights.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{weight:.3f}", f"{fit.coefficients[name]:+.2f}")
    with stdout_console() as console:
        console.print(table)
        console.print(
            f"{fit.rows} rationales, {fit.good} good; {fit.accuracy:.0%} classified correctly in cross-validation"
            f" ({fit.majority:.0%} if all get the same label)"
        )
