"""Refine by GRPO (arXiv 2402.03300) through TRL's GRPOTrainer, with the rollouts, reward and validation of PPO.

GRPO has no value head: a rationale's advantage is how much better it is than the others of its question. TRL has the
loss and the loop; prompts are tokenized, and rationales sampled and read, by the code that PPO and inference use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # `rollout_func` is what is experimental of it

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_train.curves import read_metrics
from lmcot_train.distill.trainers import last_checkpoint, remove_torn_checkpoints
from lmcot_train.leaving import StopAfterStep, StopRequest
from lmcot_train.plain_state import PlainState, check_checkpoint
from lmcot_train.ppo.checkpoint import PpoProgress as PPOProgress
from lmcot_train.ppo.experience import score, token_figures
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.ppo.rollout import Draw, RolloutSampling, sample
from lmcot_train.ppo.trainer import Judged, Trainer, reward_figures
from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rewards.reward import RolledOut

Note = Callable[[dict[str, float], Sequence[Judged]], None]
"""Takes the figures of an update and what was sampled for it."""

_LOGGED = {"grad_norm": "gradient_norm", "loss": "policy_loss", "clip_ratio/region_mean": "clip_fraction"}
"""TRL's names of figures, and ours."""


@dataclass(slots=True)
class Rollouts:
    """Samples rationales for TRL and rewards them.

    Attributes:
        judge: A PPO trainer whose policy, task and validation are used; it learns nothing itself.
        judged: What was sampled and rewarded last.
        figures: KL, entropy and length of it.
    """

    judge: Trainer
    judged: list[Judged] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def sample(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """Write a completion for each prompt, which is the index of a row; equal ones stand next to each other."""
        task, options = self.judge.task, self.judge.options
        step, training = trainer.state.global_step, trainer.model.training
        draws = [
            Draw(
                tuple(task.encode(task.rows[int(index)])),
                tuple(sample_seed(options.seed, f"{step}/{index}", i) for i, _ in enumerate(same)),
            )
            for index, same in groupby(prompts)
        ]
        self.judge.policy.eval()
        writing = RolloutSampling(task.reader, options.max_tokens, options.tokens_per_pass)
        groups = sample(self.judge.policy, draws, writing)
        scored = score(self.judge.policy, groups, options.tokens_per_pass)
        self.figures = token_figures(scored)
        trainer.model.train(training)
        pairs = [(one.group.prompt, completion) for one in scored for completion in one.group.completions]
        return {
            "prompt_ids": [list(prompt) for prompt, _ in pairs],
            "completion_ids": [list(completion) for _, completion in pairs],
            "logprobs": [
                row[mask].tolist() for one in scored for row, mask in zip(one.logprobs, one.mask, strict=True)
            ],
            "reference_mean": [mean for one in scored for mean in one.reference_means()],
        }

    def reward(
        self,
        prompts: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        reference_mean: Sequence[float],
        **_: Any,
    ) -> list[float]:
        """Reward the completions.

        Raises:
            LargeCallsSpentError: The calls of the large LM are spent.
        """
        task, items = self.judge.task, []
        for index, ids, mean in zip(prompts, completion_ids, reference_mean, strict=True):
            text = task.reader.read(ids)
            items.append(RolledOut(task.rows[int(index)], text.rationale, text.finished, mean))
        self.judged = [Judged(item, reward) for item, reward in zip(items, task.reward(items), strict=True)]
        return [one.reward.total for one in self.judged]


class GrpoCallback(TrainerCallback):  # type: ignore[misc]
    """Notes every update, validates, and ends the run at our limits."""

    def __init__(self, rollouts: Rollouts, note: Note) -> None:
        self._rollouts, self._note, self._began = rollouts, note, time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Note an update, which the summary at the end of all is not; keep the state the run is to end in."""
        rollouts, judge = self._rollouts, self._rollouts.judge
        if logs and "reward" in logs:
            figures = {ours: float(logs[theirs]) for theirs, ours in _LOGGED.items() if theirs in logs}
            figures |= {**rollouts.figures, **reward_figures(rollouts.judged)}
            figures["update"] = float(state.global_step)
            judge.progress = replace(judge.progress, update=state.global_step)
            self._note(judge.close_update(figures, time.monotonic() - self._began), rollouts.judged)
        control.should_training_stop = control.should_training_stop or bool(judge.stopped)
        control.should_save = (control.should_save or bool(judge.stopped)) and not judge.owes_validation


def progress_of(folder: Path, metrics: Path, coefficient: float) -> PPOProgress:
    """Return how far a run has come by its last checkpoint and its log."""
    remove_torn_checkpoints(folder)
    kept = last_checkpoint(folder)
    if kept:
        check_checkpoint(kept)
    update = int(kept.name.rpartition("-")[2]) if kept else 0
    logged = [one for one in read_metrics(metrics, "update") if one["update"] <= update] if kept else []
    validated = [(one["validation_reward"], -one["update"]) for one in logged if "validation_reward" in one]
    best, place = max(validated, default=(None, 0))
    seconds = 60 * max((one.get("minutes", 0.0) for one in logged), default=0.0)
    return PPOProgress(coefficient, update, seconds, best, -int(place))


class PlainGRPOTrainer(PlainState, GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer, its state kept without pickles."""


def train_grpo(
    judge: Trainer,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    note: Note,
    request: StopRequest,
) -> None:
    """Train until the updates are made or a limit is reached, going on from the last checkpoint in `folder`.

    Args:
        judge: A PPO trainer whose policy wraps `model`, and whose task and validation are used.
        model: What learns: a `PeftModel`, or a transformers model.
        tokenizer: Its tokenizer.
        folder: Where checkpoints are.
        note: Is told of every update.
        request: Whether to end after the present update.

    Raises:
        ModelError: The model is an encoder-decoder.
        UsageError: There are fewer questions than a batch takes, of which TRL would make none.
    """
    if judge.policy.network.model.config.is_encoder_decoder:
        raise ModelError("--algorithm grpo: TRL's GRPOTrainer takes decoder-only models; use --algorithm ppo")
    if len(judge.task.rows) < judge.options.batch:
        raise UsageError(
            f"--batch {judge.options.batch}: there are {len(judge.task.rows)} questions to learn from, and with"
            " --algorithm grpo a batch holds different ones: give that number at most, or more questions"
        )
    rollouts = Rollouts(judge)
    rows = Dataset.from_dict({"prompt": [str(index) for index in range(len(judge.task.rows))]})
    trainer = PlainGRPOTrainer(
        model=model,
        args=_arguments(judge.options, folder),
        reward_funcs=rollouts.reward,
        train_dataset=rows,
        processing_class=tokenizer,
        rollout_func=rollouts.sample,
        callbacks=[GrpoCallback(rollouts, note), StopAfterStep(request)],
    )
    if isinstance(model, PeftModel) and "ref" in model.peft_config:
        # TRL's copy of the adapter it began with, which adds nothing: "adapter off" is the same reference. And of a
        # checkpoint with a second adapter transformers loads only that one: a resumed run would forget the first.
        model.delete_adapter("ref")
    trainer.beta = judge.options.kl_coefficient
    if trainer.beta and (reference := judge.policy.reference_model) is not None:
        trainer.ref_model = trainer.accelerator.prepare_model(reference, evaluation_mode=True)
    trainer.remove_callback(PrinterCallback)
    kept = last_checkpoint(folder)
    if kept:
        check_checkpoint(kept)
    if judge.progress.update == 0:
        note(judge.validated({"update": 0.0}), [])
    if judge.stopped:
        return
    try:
        trainer.train(resume_from_checkpoint=str(kept) if kept else None)
    except LargeCallsSpentError as error:
        judge.stopped = str(error)


def _arguments(options: PPOOptions, folder: Path) -> GRPOConfig:
    """Say to TRL what our settings say: one optimizer step an update, in passes of a share of its rationales."""
    on_cuda = torch.cuda.is_available()
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
        lr_scheduler_kwargs=(
            {"num_decay_steps": round(options.decay * options.updates), "decay_type": "linear"}
            if options.decay
            else {}
        ),
        warmup_steps=options.warm_up,
        beta=0.0,  # else TRL loads the base that config.json names for reference, without what distillation taught it
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
