"""Refine by GRPO (arXiv 2402.03300) through TRL's GRPOTrainer, with the judge that PPO has, too.

GRPO has no value head: the advantage of a rationale is how much better it is than the others of its question. TRL has
the loss and the loop; rationales are sampled, read and rewarded by the code that PPO and inference use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # its `rollout_func` is experimental

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import ModelError, UsageError
from lmcot_train.curves import read_metrics
from lmcot_train.leaving import StopAfterStep, StopRequest
from lmcot_train.plain_state import PlainState, checkpoint_to_resume, remove_torn_checkpoints, step_of
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rollouts.judge import Judge, JudgedRationale, reward_figures
from lmcot_train.rollouts.monitor import Monitor, RefineProgress
from lmcot_train.rollouts.scored import ScoredRollouts, token_figures

Note = Callable[[Mapping[str, float], Sequence[JudgedRationale]], None]
"""Takes the figures of an update, and what was sampled for it."""

_LOGGED = {"grad_norm": "gradient_norm", "loss": "policy_loss", "clip_ratio/region_mean": "clip_fraction"}
"""TRL's names of figures, and ours."""


@dataclass(slots=True)
class Rollouts:
    """Writes rationales for TRL and rewards them; holds those of the last update with their rows."""

    judge: Judge
    rows: list[Row] = field(default_factory=list)
    scored: list[ScoredRollouts] = field(default_factory=list)
    judged: list[JudgedRationale] = field(default_factory=list)

    def sample(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """Write a completion for each prompt, which is the index of a row; equal ones are next to each other."""
        training = trainer.model.training
        indices = list(dict.fromkeys(prompts))
        self.rows = [self.judge.task.rows[int(index)] for index in indices]
        names = [f"{trainer.state.global_step}/{index}" for index in indices]
        groups = self.judge.write(self.rows, names, len(prompts) // len(names))
        self.scored = self.judge.score(groups)
        trainer.model.train(training)
        logprobs = [pair for one in self.scored for pair in zip(one.logprobs, one.mask, strict=True)]
        return {
            "prompt_ids": [list(group.prompt) for group in groups for _ in group.completions],
            "completion_ids": [list(one) for group in groups for one in group.completions],
            "logprobs": [row[mask].tolist() for row, mask in logprobs],
        }

    def reward(self, **_: Any) -> list[float]:
        """Reward what was sampled last."""
        self.judged = self.judge.reward(self.rows, self.scored)
        return [one.reward.total for one in self.judged]


class GrpoCallback(TrainerCallback):  # type: ignore[misc]
    """Notes every update, and ends the run at our limits."""

    def __init__(self, rollouts: Rollouts, monitor: Monitor, note: Note) -> None:
        self._rollouts, self._monitor, self._note = rollouts, monitor, note
        self._began = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Note an update (the summary at the end is none); have the state kept in which the run ends."""
        rollouts, monitor = self._rollouts, self._monitor
        if logs and "reward" in logs:
            figures = {ours: float(logs[theirs]) for theirs, ours in _LOGGED.items() if theirs in logs}
            figures |= {**token_figures(rollouts.scored), **reward_figures(rollouts.judged)}
            figures["update"] = float(state.global_step)
            monitor.progress = replace(monitor.progress, update=state.global_step)
            self._note(monitor.close_update(figures, time.monotonic() - self._began), rollouts.judged)
        control.should_training_stop = control.should_training_stop or bool(monitor.stopped)
        control.should_save = (control.should_save or bool(monitor.stopped)) and not monitor.owes_validation


def progress_of(folder: Path, metrics: Path, coefficient: float) -> RefineProgress:
    """Return how far a run has come, by its last checkpoint and its log."""
    remove_torn_checkpoints(folder)
    kept = checkpoint_to_resume(folder)
    update = step_of(kept) if kept else 0
    logged = [one for one in read_metrics(metrics, "update") if one["update"] <= update] if kept else []
    validated = [(one["validation_reward"], -one["update"]) for one in logged if "validation_reward" in one]
    best, place = max(validated, default=(None, 0))
    seconds = 60 * max((one.get("minutes", 0.0) for one in logged), default=0.0)
    return RefineProgress(coefficient, update, seconds, best, -int(place))


class PlainGRPOTrainer(PlainState, GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer, with its state kept without pickles."""


def train_grpo(
    monitor: Monitor,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    note: Note,
    request: StopRequest,
) -> None:
    """Train until the updates are made or a limit is reached, starting from the last checkpoint in `folder`.

    Args:
        monitor: Follows the run; its judge's policy wraps `model`.
        model: What learns: a `PeftModel`, or a transformers model.
        tokenizer: Its tokenizer.
        folder: Where checkpoints are.
        note: Is told of every update.
        request: Whether to end after the present update.

    Raises:
        KeyboardInterrupt: The request was made; the state is kept.
    """
    trainer = _trainer(monitor, model, tokenizer, folder, note)
    trainer.add_callback(StopAfterStep(request))
    if monitor.progress.update == 0:
        note(monitor.validated({"update": 0.0}), [])
    kept = checkpoint_to_resume(folder)
    try:
        if not monitor.stopped:
            trainer.train(resume_from_checkpoint=str(kept) if kept else None)
    except LargeCallsSpentError as error:
        monitor.stopped = str(error)
    request.obey()


def check_grpo(judge: Judge) -> None:
    """Refuse what TRL cannot train.

    Raises:
        ModelError: The model is an encoder-decoder.
        UsageError: There are fewer questions than a batch takes: TRL would make no batch.
    """
    if judge.policy.network.model.config.is_encoder_decoder:
        raise ModelError("--algorithm grpo: TRL's GRPOTrainer takes decoder-only models; use --algorithm ppo")
    if len(judge.task.rows) < judge.options.batch:
        raise UsageError(
            f"--batch {judge.options.batch}: there are {len(judge.task.rows)} questions to learn from, and with"
            " --algorithm grpo a batch holds different ones: give that number at most, or more questions"
        )


def _trainer(
    monitor: Monitor, model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, note: Note
) -> PlainGRPOTrainer:
    judge = monitor.judge
    rollouts = Rollouts(judge)
    trainer = PlainGRPOTrainer(
        model=model,
        args=_arguments(judge.options, folder),
        reward_funcs=rollouts.reward,
        train_dataset=Dataset.from_dict({"prompt": [str(index) for index in range(len(judge.task.rows))]}),
        processing_class=tokenizer,
        rollout_func=rollouts.sample,
        callbacks=[GrpoCallback(rollouts, monitor, note)],
    )
    trainer.remove_callback(PrinterCallback)
    if isinstance(model, PeftModel) and "ref" in model.peft_config:
        # TRL's copy of the first adapter, which adds nothing: "adapter off" is the same reference. Of a checkpoint with
        # a second adapter transformers loads only that one: a resumed run would forget the first.
        model.delete_adapter("ref")
    trainer.beta = judge.options.kl_coefficient
    if trainer.beta and (reference := judge.policy.reference_model) is not None:
        trainer.ref_model = trainer.accelerator.prepare_model(reference, evaluation_mode=True)
    return trainer


def _arguments(options: PPOOptions, folder: Path) -> GRPOConfig:
    """Translate our settings for TRL: one optimizer step per update, in passes over parts of its rationales."""
    on_cuda = torch.cuda.is_available()
    decay = {"num_decay_steps": round(options.decay * options.updates), "decay_type": "linear"}
    return GRPOConfig(
        output_dir=str(folder),
        max_steps=options.updates,
        per_device_train_batch_size=options.batch * options.samples // options.minibatches,
        gradient_accumulation_steps=options.minibatches,
        num_generations=options.samples,
        max_completion_length=options.max_tokens,
        temperature=options.temperature,
        learning_rate=options.policy_rate,
        lr_scheduler_type="warmup_stable_decay" if options.decay else "constant_with_warmup",
        lr_scheduler_kwargs=decay if options.decay else {},
        warmup_steps=options.warm_up,
        beta=0.0,  # else TRL's reference is the base that config.json names, without what distillation taught it
        epsilon=options.clip,
        max_grad_norm=options.max_grad_norm,
        seed=options.seed,
        bf16=on_cuda,
        use_cpu=not on_cuda,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="steps",
        save_steps=options.save_every,
        save_total_limit=1,
        report_to=[],
        disable_tqdm=True,
    )
