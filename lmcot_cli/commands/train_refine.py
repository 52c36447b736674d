"""`lmcot train refine`: reinforcement learning of the small LM, rewarded by the answers of a frozen large LM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.commands import options
from lmcot_cli.commands.train_arguments import (
    OverwriteRunOption,
    QuietOption,
    RunOption,
    stderr_report,
    train_extra,
)
from lmcot_cli.settings.declaration import Given, takes
from lmcot_train.refine.options import NOT_OF_REFINE, RefineOptions, from_settings

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train refine questions.jsonl --from runs/distilled -o runs/refined --minutes 30[/cyan]  the embedded LM

[cyan]lmcot train refine questions.jsonl --from runs/distilled --large http://localhost:8000/v1#qwen -o runs/refined \
--max-large-calls 20000[/cyan]  against an endpoint

[cyan]accelerate launch -m lmcot_cli train refine ...[/cyan]  PPO on several GPUs: the same options, the same results
"""


@takes(RefineOptions, without=NOT_OF_REFINE)
def refine(
    given: Given,
    questions: Annotated[
        Path,
        typer.Argument(metavar="QUESTIONS", help="Rows with gold answers, in any layout."),
    ],
    start: Annotated[
        Path, typer.Option("--from", metavar="RUN", help="Run of distill or refine to continue from.")
    ],
    output: RunOption,
    overwrite: OverwriteRunOption = False,
    config: options.ConfigOption = None,
    quiet: QuietOption = False,
) -> None:
    """Refine a small LM by reinforcement: its rationales are rewarded if the large LM answers right from them.

    The same command continues a killed run, and a run that a limit ended if that limit is raised. The new run holds the
    weights that did best on the rows held out, metrics.jsonl, curves.png, and samples.jsonl with every rationale and
    its reward.
    """
    from lmcot_cli.commands.settings_file import settings_from

    with train_extra():
        from lmcot_train.refine.run import refine as train
    settings = from_settings(
        given, settings_from(config), questions=questions, start=start, output=output, overwrite=overwrite
    )
    typer.echo(train(settings, stderr_report(quiet=quiet)).folder)
