"""The trainers: TRL's SFTTrainer for decoder-only models, transformers' Seq2SeqTrainer for encoder-decoder ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import (
    DataCollatorForSeq2Seq,
    EarlyStoppingCallback,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from lmcot_cli.errors import ModelError
from lmcot_train.distill.data import SimilarLengths
from lmcot_train.distill.options import DistillOptions
from lmcot_train.models import Opened, Report, is_encoder_decoder
from lmcot_train.plain_state import PlainState
from lmcot_train.prompting import IGNORED
from lmcot_train.run_folder import RunFolder, append_records

_RENAMED = {"eval_loss": "validation_loss"}
_LOGGED = ("epoch", "loss", "validation_loss", "learning_rate", "grad_norm", "mean_token_accuracy")
_LOSSES = {"loss", "validation_loss"}
_LOGS = 100
LESS = "lower --learning-rate, and start anew with --overwrite"


@dataclass(frozen=True, slots=True)
class Splits:
    """The data sets; without one for validation there is no early stopping."""

    train: Dataset
    validation: Dataset | None


def on_cuda() -> bool:
    """Whether training runs on a CUDA device."""
    return torch.cuda.is_available()


def computes_in_bfloat16(options: DistillOptions) -> bool:
    """Whether the arithmetic is in bfloat16."""
    return options.precision == "bfloat16" or (options.precision == "auto" and on_cuda())


def arguments(options: DistillOptions, run: RunFolder, splits: Splits, *, encoder: bool) -> TrainingArguments:
    """Return the arguments of the trainer; making them joins the processes that train together."""
    steps_per_epoch = max(len(splits.train) // options.batch_size, 1)
    steps, evaluate_every = steps_per_epoch * options.epochs, max(steps_per_epoch // options.evaluations, 1)
    validates = splits.validation is not None
    values: dict[str, Any] = {
        "output_dir": str(run.checkpoints),
        "max_steps": steps,
        "warmup_steps": round(options.warmup * steps),
        "learning_rate": options.learning_rate,
        "weight_decay": options.weight_decay,
        "lr_scheduler_type": "cosine",
        "logging_steps": max(steps // _LOGS, 1),
        "logging_nan_inf_filter": False,  # `MetricsLog` must see a loss that is not finite
        "eval_strategy": "steps" if validates else "no",
        "eval_steps": evaluate_every,
        "save_strategy": "steps",
        "save_steps": evaluate_every,
        "save_total_limit": 2,
        "load_best_model_at_end": validates,
        "metric_for_best_model": "eval_loss" if validates else None,
        "greater_is_better": False if validates else None,
        "bf16": computes_in_bfloat16(options),
        "gradient_checkpointing": on_cuda(),
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "use_cpu": not on_cuda(),
        "dataloader_pin_memory": on_cuda(),
        "ddp_find_unused_parameters": False,
        "label_names": ["labels"],  # the trainer finds none in the signature of a model with an adapter
        "seed": options.seed,
        "report_to": [],
        "disable_tqdm": True,
    }
    if encoder:
        made: TrainingArguments = Seq2SeqTrainingArguments(**values)
    else:
        made = SFTConfig(**values, max_length=None, dataset_kwargs={"skip_prepare_dataset": True})
    return _with_batches(made, options)


def _with_batches(made: TrainingArguments, options: DistillOptions) -> TrainingArguments:
    """Divide the rows of a step evenly among processes and micro-batches (`DistillOptions.check`)."""
    share = options.batch_size // made.world_size
    made.per_device_train_batch_size = min(options.micro_batch or share, share)
    made.gradient_accumulation_steps = share // made.per_device_train_batch_size
    made.per_device_eval_batch_size = made.per_device_train_batch_size
    return made


class _SimilarLengthBatches(Trainer):  # type: ignore[misc]
    """Draws rows of similar length together, the same ones for any number of processes."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        lengths = [len(ids) for ids in dataset["input_ids"]]
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return SimilarLengths(lengths, batch, self.args.seed)


class CausalTrainer(PlainState, _SimilarLengthBatches, SFTTrainer):  # type: ignore[misc]
    """Trains a decoder-only model on the completions."""


class EncoderDecoderTrainer(PlainState, _SimilarLengthBatches, Seq2SeqTrainer):  # type: ignore[misc]
    """Trains an encoder-decoder model."""


class MetricsLog(TrainerCallback):  # type: ignore[misc]
    """Writes each logged record to the run's metrics and reports it, in the first process only."""

    def __init__(self, run: RunFolder, report: Report) -> None:
        self._run, self._report = run, report

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write what the checkpoint remembers: steps made again after a kill are not there twice."""
        if state.is_world_process_zero:
            records = [metric(record) for record in state.log_history]
            append_records(self._run.metrics, [one for one in records if _LOSSES & one.keys()], anew=True)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the newest record; raise a ModelError if its loss is not finite."""
        record = metric(state.log_history[-1])
        if not isfinite(record.get("loss", 0.0)):
            raise ModelError(f"the loss is no longer finite at step {record['step']}: {LESS}")
        if state.is_world_process_zero and _LOSSES & record.keys():
            append_records(self._run.metrics, [record])
            self._report(_line(record, state.max_steps))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remove the pickled arguments that transformers leaves in a checkpoint and nothing reads."""
        if state.is_world_process_zero:
            for pickled in self._run.checkpoints.glob("*/training_args.bin"):
                pickled.unlink(missing_ok=True)


def metric(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of the trainer's log as the metrics hold it."""
    renamed = {_RENAMED.get(name, name): value for name, value in record.items()}
    return {"step": renamed["step"], **{name: renamed[name] for name in _LOGGED if name in renamed}}


def _line(record: Mapping[str, Any], steps: int) -> str:
    names = [name for name in ("loss", "validation_loss") if name in record]
    losses = [f"{name.replace('_', ' ')} {record[name]:.4f}" for name in names]
    return f"step {record['step']:>6} of {steps}  epoch {record['epoch']:.2f}  {'  '.join(losses)}"


def build_trainer(
    opened: Opened,
    splits: Splits,
    made: TrainingArguments,
    options: DistillOptions,
    callbacks: list[TrainerCallback],
) -> Trainer:
    """Return the trainer for this kind of model."""
    model, tokenizer = opened
    if splits.validation is not None:
        callbacks = [*callbacks, EarlyStoppingCallback(options.patience)]
    encoder = is_encoder_decoder(model)
    collator = {"data_collator": DataCollatorForSeq2Seq(tokenizer, model, label_pad_token_id=IGNORED)}
    trainer = (EncoderDecoderTrainer if encoder else CausalTrainer)(
        model=model,
        args=made,
        train_dataset=splits.train,
        eval_dataset=splits.validation,
        processing_class=tokenizer,
        callbacks=callbacks,
        **(collator if encoder else {}),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
