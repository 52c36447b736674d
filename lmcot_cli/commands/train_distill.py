"""`lmcot train distill`: teach a small LM to write rationales."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lmcot_cli.commands import prompt_options
from lmcot_cli.commands.train_arguments import (
    OverwriteRunOption,
    PromptsOption,
    QuietOption,
    RunOption,
    SeedOption,
    given,
    stderr_report,
    train_extra,
)
from lmcot_cli.prompts.options import PromptOptions

if TYPE_CHECKING:
    from lmcot_train.distill.options import DistillOptions

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train distill rationales.jsonl --base HuggingFaceTB/SmolLM2-135M-Instruct -o runs/distilled[/cyan]

[cyan]accelerate launch -m lmcot_cli train distill rationales.jsonl --base google/flan-t5-base -o runs/t5[/cyan]
"""

_ADAPTER, _TRAINING = "Adapter", "Training"


def distill(
    context: typer.Context,
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
    lora_rank: Annotated[
        int | None,
        typer.Option("--lora-rank", help="Rank.", show_default="16", rich_help_panel=_ADAPTER),
    ] = None,
    lora_alpha: Annotated[
        int | None,
        typer.Option(
            "--lora-alpha", help="Scale, times the rank.", show_default="32", rich_help_panel=_ADAPTER
        ),
    ] = None,
    lora_dropout: Annotated[
        float | None,
        typer.Option("--lora-dropout", help="Dropout.", show_default="0.05", rich_help_panel=_ADAPTER),
    ] = None,
    lora_targets: Annotated[
        str | None,
        typer.Option(
            "--lora-targets",
            metavar="NAMES",
            help="Layers to adapt, with commas between.",
            show_default="all-linear",
            rich_help_panel=_ADAPTER,
        ),
    ] = None,
    full: Annotated[
        bool | None,
        typer.Option(
            "--full", help="Train all weights, and no adapter.", show_default=False, rich_help_panel=_ADAPTER
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", help="Most epochs.", show_default="3", rich_help_panel=_TRAINING),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            help="Rows a step, over all processes: a multiple of their number.",
            show_default="16",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    micro_batch: Annotated[
        int | None,
        typer.Option(
            "--micro-batch",
            help="Rows at once on one device, a divisor of those of a step; fewer need less memory.",
            show_default="as many as a step has",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate", help="Peak learning rate.", show_default="0.0002", rich_help_panel=_TRAINING
        ),
    ] = None,
    warmup: Annotated[
        float | None,
        typer.Option(
            "--warmup",
            help="Share of the steps over which the rate rises.",
            show_default="0.03",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            "--weight-decay", help="AdamW's weight decay.", show_default="0.0", rich_help_panel=_TRAINING
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            help="Leave out rows that take more.",
            show_default="the model's positions",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    validation_share: Annotated[
        float | None,
        typer.Option(
            "--validation-share",
            help="Share of the questions to validate on; 0 for none.",
            show_default="0.1",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(
            "--evaluations",
            help="Evaluations and checkpoints an epoch.",
            show_default="2",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            help="Evaluations without a better loss after which training stops.",
            show_default="3",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        typer.Option(
            "--precision",
            help="auto is bfloat16 on CUDA, float32 elsewhere.",
            show_default="auto",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    seed: SeedOption = None,
    prompts: PromptsOption = None,
    shots: prompt_options.ShotsOption = None,
    shots_from: prompt_options.ShotsFromOption = None,
    shots_by: prompt_options.ShotsByOption = None,
    small_system: prompt_options.SmallSystemOption = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads that compute.", show_default="torch's own")
    ] = None,
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

    options = read_options(context.params)
    train(rationales, base, output, options, stderr_report(quiet=quiet), overwrite=overwrite)
    if is_first_process():
        typer.echo(output)


def read_options(flags: Mapping[str, Any]) -> DistillOptions:
    """Build the options from the flags that were given."""
    from lmcot_train.distill.options import DistillOptions
    from lmcot_train.lora import LoraOptions

    targets = flags["lora_targets"]
    lora = {name: flags[f"lora_{name}"] for name in ("rank", "alpha", "dropout")} | {
        "targets": tuple(targets.split(",")) if targets else None
    }
    return DistillOptions(
        **given(DistillOptions, flags),
        lora=LoraOptions(**given(LoraOptions, lora)),
        prompting=PromptOptions(**given(PromptOptions, flags)),
    )
