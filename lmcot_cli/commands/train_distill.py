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
            metavar="RATIONALES", help="Rows with a rationale: what `lmcot train rationales` wrote."
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
    """Teach a small LM to write rationales: an adapter (LoRA) on a base that stays as it is.

    The loss is on the rationales only; prompts are those of `lmcot answer --method guided` with the same --prompts,
    --shots and --small-system: what is trained with them is to be asked with them. Training stops when the
    validation loss gets no better, and the best weights are kept. RUN/adapter is a PEFT adapter.
    """
    with train_extra():
        from lmcot_train.distill.run import distill as train
        from lmcot_train.run_folder import is_first_process

    options = build(DistillOptions, given)
    train(rationales, base, output, options, stderr_report(quiet=quiet), overwrite=overwrite)
    if is_first_process():
        typer.echo(output)
