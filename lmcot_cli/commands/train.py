"""`lmcot train`: commands that need the `train` extra, which they import when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lmcot_cli.commands import train_all, train_distill, train_rationales, train_refine, train_rewards
from lmcot_cli.commands.app import App
from lmcot_cli.errors import MissingExtraError

app = App(no_args_is_help=True, help="Train the models of LM-guided chain-of-thought.")
app.command("rationales", epilog=train_rationales.EPILOG)(train_rationales.rationales)
app.command("distill", epilog=train_distill.EPILOG)(train_distill.distill)
app.command("refine", epilog=train_refine.EPILOG)(train_refine.refine)
app.command("score", epilog=train_rewards.SCORE_EPILOG)(train_rewards.score)
app.command("fit-aspects", epilog=train_rewards.FIT_EPILOG)(train_rewards.fit_aspects)
app.command("all", epilog=train_all.EPILOG)(train_all.train_all)


@app.command()
def pretrain(
    role: Annotated[
        Literal["base", "large"],
        typer.Argument(help="The large LM, or what the small one is distilled from: no rationale seen."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the weights, the GGUF and the log."),
    ],
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes",
            min=0.1,
            help="Budget: minutes of CPU time, not of the clock; the schedule follows them.",
        ),
    ] = 43.0,
    seed: Annotated[int, typer.Option("--seed", help="Seeds the weights and the examples.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads that compute.")] = 1,
) -> None:
    """Train the embedded large LM, or the base of the small one, from nothing on MicroHop.

    Example: lmcot train pretrain large -o runs/large --minutes 43
    """
    try:
        from lmcot_train.pretrain.run import PretrainOptions, run
    except ModuleNotFoundError as error:
        raise MissingExtraError("lmcot train", "train") from error
    path = run(
        PretrainOptions(role, output, minutes, seed, threads), report=lambda line: typer.echo(line, err=True)
    )
    typer.echo(path)
