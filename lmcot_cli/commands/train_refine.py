"""`lmcot train refine`: reinforcement learning of the small LM, rewarded by what a frozen large LM makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lmcot_cli.commands import options, prompt_options
from lmcot_cli.commands.train_arguments import (
    AspectWeightsOption,
    OverwriteRunOption,
    QuietOption,
    RunOption,
    stderr_report,
    train_extra,
)

DEFAULTS = {
    "large": "builtin:large", "algorithm": "ppo", "lora_rank": 16, "held_out": 64, "updates": 100, "batch": 16,
    "samples": 4, "max_tokens": 128, "temperature": 1.0, "epochs": 2, "minibatches": 4, "policy_rate": 1e-4,
    "value_rate": 1e-3, "decay": 0.0, "clip": 0.2, "entropy_weight": 0.0, "trace": 0.95, "value_weight": 0.1,
    "kl_coefficient": 0.05, "kl_target": 3.0, "run_kl": 50.0, "tokens_per_pass": 4096, "validate_every": 10,
    "save_every": 5, "seed": 0, "task_weight": 1.0, "aspects_weight": 0.5, "loop_penalty": 0.5,
    "unfinished_penalty": 0.5, "unsupported_penalty": 0.25, "task_metric": "em",
}  # fmt: skip
"""What `--help` shows; a test holds it to the dataclasses, which are not imported for it (they need torch)."""

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train refine questions.jsonl --from runs/distilled -o runs/refined --minutes 30[/cyan]  the embedded LM

[cyan]lmcot train refine questions.jsonl --from runs/distilled --large http://localhost:8000/v1#qwen -o runs/refined \
--max-large-calls 20000[/cyan]  against an endpoint

[cyan]accelerate launch -m lmcot_cli train refine ...[/cyan]  PPO on several GPUs: the same options, the same results
"""

_LEARNING, _SAMPLING, _REWARD, _RUN = "Learning", "Sampling", "Reward", "Run"


def _option(name: str, text: str, panel: str, flag: str | None = None, default: str | None = None) -> Any:
    """Declare an option that is None where it was not given; help shows the dataclass's default."""
    shown = default or f"{DEFAULTS[name]}"
    return typer.Option(
        flag or f"--{name.replace('_', '-')}", help=text, show_default=shown, rich_help_panel=panel
    )


def refine(
    context: typer.Context,
    questions: Annotated[
        Path,
        typer.Argument(metavar="QUESTIONS", help="Rows with gold answers, in any layout that answer reads."),
    ],
    start: Annotated[
        Path, typer.Option("--from", metavar="RUN", help="Run of distill or refine to go on from.")
    ],
    output: RunOption,
    large: Annotated[
        str | None, _option("large", "Frozen LM that answers from the rationales.", _REWARD)
    ] = None,
    algorithm: Annotated[
        Literal["ppo", "grpo"] | None,
        _option("algorithm", "ppo, or grpo (through TRL, in one process).", _LEARNING),
    ] = None,
    updates: Annotated[
        int | None, _option("updates", "Updates to make; more go on with a finished run.", _LEARNING)
    ] = None,
    minutes: Annotated[
        float | None,
        _option(
            "minutes", "Stop after this much training, if that comes first.", _LEARNING, default="no limit"
        ),
    ] = None,
    policy_rate: Annotated[
        float | None, _option("policy_rate", "Learning rate.", _LEARNING, "--learning-rate")
    ] = None,
    value_rate: Annotated[
        float | None, _option("value_rate", "Learning rate of the value head.", _LEARNING)
    ] = None,
    decay: Annotated[
        float | None,
        _option(
            "decay",
            "Share of the updates over which learning rates fall to zero at the end; their number is fixed then.",
            _LEARNING,
        ),
    ] = None,
    epochs: Annotated[
        int | None, _option("epochs", "Times each update's rationales are learned from.", _LEARNING)
    ] = None,
    minibatches: Annotated[int | None, _option("minibatches", "Optimizer steps an epoch.", _LEARNING)] = None,
    clip: Annotated[
        float | None, _option("clip", "How far a probability may move in an update.", _LEARNING)
    ] = None,
    kl_target: Annotated[
        float | None, _option("kl_target", "KL to the start to hold, in nats a rationale.", _LEARNING)
    ] = None,
    kl_coefficient: Annotated[
        float | None, _option("kl_coefficient", "Weight of the KL penalty at first.", _LEARNING)
    ] = None,
    run_kl: Annotated[
        float | None, _option("run_kl", "KL at which the run ends: it ran away.", _LEARNING)
    ] = None,
    entropy_weight: Annotated[
        float | None, _option("entropy_weight", "Reward for staying undecided.", _LEARNING)
    ] = None,
    trace: Annotated[
        float | None,
        _option("trace", "Lambda of the advantages: 1 trusts the rewards alone.", _LEARNING, "--gae-lambda"),
    ] = None,
    value_weight: Annotated[
        float | None, _option("value_weight", "Weight of the value loss in shared weights.", _LEARNING)
    ] = None,
    leave_one_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-out",
            help="Count each reward from the mean of the question's other samples.",
            rich_help_panel=_LEARNING,
        ),
    ] = False,
    lora_rank: Annotated[
        int | None, _option("lora_rank", "Rank of the LoRA adapter that learns.", _LEARNING)
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Train all weights, not an adapter.", rich_help_panel=_LEARNING)
    ] = False,
    tokens_per_pass: Annotated[
        int | None, _option("tokens_per_pass", "Tokens in one pass; less takes less memory.", _LEARNING)
    ] = None,
    batch: Annotated[int | None, _option("batch", "Questions an update.", _SAMPLING)] = None,
    samples: Annotated[int | None, _option("samples", "Rationales a question.", _SAMPLING)] = None,
    max_tokens: Annotated[
        int | None, _option("max_tokens", "Tokens a rationale may take.", _SAMPLING)
    ] = None,
    temperature: Annotated[float | None, _option("temperature", "Of the sampling.", _SAMPLING)] = None,
    task_weight: Annotated[
        float | None, _option("task_weight", "Weight of whether the large LM is right.", _REWARD)
    ] = None,
    aspects_weight: Annotated[
        float | None, _option("aspects_weight", "Weight of the mean of the aspects.", _REWARD)
    ] = None,
    loop_penalty: Annotated[
        float | None, _option("loop_penalty", "Taken off for going in circles.", _REWARD)
    ] = None,
    unfinished_penalty: Annotated[
        float | None, _option("unfinished_penalty", "Taken off for coming to no end.", _REWARD)
    ] = None,
    unsupported_penalty: Annotated[
        float | None,
        _option(
            "unsupported_penalty", "Taken off for an answer that the rationale does not bear out.", _REWARD
        ),
    ] = None,
    task_metric: Annotated[
        Literal["em", "f1"] | None, _option("task_metric", "em or f1: how right is measured.", _REWARD)
    ] = None,
    aspect_weights: AspectWeightsOption = None,
    max_large_calls: Annotated[
        int | None,
        _option(
            "max_large_calls",
            "Most prompts to send to the large LM; then the run ends, and a higher number goes on with it.",
            _REWARD,
            default="no limit",
        ),
    ] = None,
    prompts: options.PromptsOption = None,
    shots: prompt_options.ShotsOption = None,
    shots_from: prompt_options.ShotsFromOption = None,
    shots_by: prompt_options.ShotsByOption = None,
    small_system: prompt_options.SmallSystemOption = None,
    large_system: prompt_options.LargeSystemOption = None,
    held_out: Annotated[
        int | None, _option("held_out", "Rows to validate on, not learned from.", _RUN)
    ] = None,
    validate_every: Annotated[
        int | None, _option("validate_every", "Updates between validations.", _RUN)
    ] = None,
    save_every: Annotated[int | None, _option("save_every", "Updates between checkpoints.", _RUN)] = None,
    seed: Annotated[int | None, _option("seed", "Seed of the run.", _RUN)] = None,
    limit: options.LimitOption = None,
    fields: prompt_options.FieldsOption = None,
    overwrite: OverwriteRunOption = False,
    config: options.ConfigOption = None,
    parallel: options.ParallelOption = None,
    threads: options.ThreadsOption = None,
    n_ctx: options.NCtxOption = None,
    gpu_layers: options.GpuLayersOption = None,
    kv_mib: options.KvMibOption = None,
    quiet: QuietOption = False,
) -> None:
    """Refine a small LM by reinforcement: its rationales are rewarded if the large LM answers right from them.

    Run the same command again and it goes on where it was killed; with a limit raised, it goes on from where that
    ended it. The new run holds the weights that did best on the rows held out, metrics.jsonl, curves.png, and
    samples.jsonl with every rationale and what it was worth.
    """
    from lmcot_cli.commands.settings_file import settings_from

    with train_extra():
        from lmcot_train.refine.options import from_settings
        from lmcot_train.refine.run import refine as train
        from lmcot_train.rewards.weights import load_weights
    weights = {"aspect_weights": load_weights(aspect_weights) if aspect_weights else None}
    settings = from_settings(context.params | weights, settings_from(config))
    typer.echo(train(settings, stderr_report(quiet=quiet)).folder)
