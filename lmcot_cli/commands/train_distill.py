"""`lmcot train distill`: teach a small LM to write rationales."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.commands.train_arguments import (
    OverwriteRunOption,
    QuietOption,
    RunOption,
    stderr_report,
    train_extra,
)
from lmcot_cli.settings.declaration import Given, build, takes
from lmcot_train.distill.options import DistillOptions

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train distill rationales.jsonl --base HuggingFaceTB/SmolLM2-135M-Instruct -o runs/distilled[/cyan]

[cyan]accelerate launch -m lmcot_cli train distill rationales.jsonl --base google/flan-t5-base -o runs/t5[/cyan]
"""


@takes(DistillOptions, without={"large_system"})
def distill(
    given: Given,
    rationales: Annotated[
        Path,
        typer.Argument(
            metavar="RATIONALES", help="Rows with a rationale, as `lmcot train rationales` writes them."
        ),
    ],
    base: Annotated[
        str,
        typer.Option(
            "--base",
            metavar="MODEL",
            help="Model to train: a folder, a GGUF file (unpacked to float32), or ORG/NAME on the hub.",
        ),
    ],
    output: RunOption,
    overwrite: OverwriteRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Teach a small LM to write rationales: train an adapter (LoRA) on a base that stays as it is.

    Only rationales count in the loss. Prompts are those of `lmcot answer --method guided`: give that command the same
    --prompts, --shots and --small-system as this one. Training stops when the validation loss no longer improves, and
    the best weights are kept. RUN/adapter is a PEFT adapter.
    """
    with train_extra():
        from lmcot_train.distill.run import distill as train
        from lmcot_train.run_folder import is_first_process

    options = build(DistillOptions, given)
    train(rationales, base, output, options, stderr_report(quiet=quiet), overwrite=overwrite)
    if is_first_process():
        typer.echo(output)
