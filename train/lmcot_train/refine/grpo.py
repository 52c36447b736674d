"""Refine by GRPO (arXiv 2402.03300) through TRL's GRPOTrainer, with the rollouts, reward and validation of PPO.

GRPO has no value head: a rationale's advantage is how much better it is than the others of its question. TRL has the
loss and the loop; prompts are tokenized, and rationales sampled and read, by the code that PPO and inference use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # `rollout_func` is what is experimental of it

from datasets import Dataset
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from lmcot_cli.errors import ModelError
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_train.ppo.experience import score
from lmcot_train.ppo.rollout import Draw, Writing, sample
from lmcot_train.ppo.trainer import Judged, Trainer, reward_figures
from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rewards.reward import RolledOut

Note = Callable[[dict[str, float], Sequence[Judged]], None]
"""Takes the figures of an update and what was sampled for it."""

_LOGGED = {"kl": "kl", "entropy": "entropy", "grad_norm": "gradient_norm", "loss": "policy_loss"}
"""TRL's names of figures, and ours."""


@dataclass(slots=True)
class Rollouts:
    """Samples rationales for TRL and rewards them.

    Attributes:
        judge: A PPO trainer whose policy, task and validation are used; it learns nothing itself.
        judged: What was sampled and rewarded last.
        stopped: Why no more can be rewarded, if so.
    """

    judge: Trainer
    judged: list[Judged] = field(default_factory=list)
    stopped: str | None = None

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
        writing = Writing(task.reader, options.max_tokens, options.tokens_per_pass)
        groups = sample(self.judge.policy, draws, writing)
        scored = score(self.judge.policy, groups, options.tokens_per_pass)
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
        """Reward the completions; 0 for each once the calls of the large LM are spent, and the run ends."""
        task, items = self.judge.task, []
        for index, ids, mean in zip(prompts, completion_ids, reference_mean, strict=True):
            text = task.reader.read(ids)
            items.append(RolledOut(task.rows[int(index)], text.rationale, text.finished, mean))
        try:
            rewards = task.reward(items)
        except LargeCallsSpentError as error:
            self.stopped = str(error)
            return [0.0] * len(items)
        self.judged = [Judged(item, reward) for item, reward in zip(items, rewards, strict=True)]
        return [reward.total for reward in rewards]


class Progress(TrainerCallback):  # type: ignore[misc]
    """Notes what TRL logs, validates, and ends the run at our limits."""

    def __init__(self, rollouts: Rollouts, note: Note, tokenizer: PreTrainedTokenizerBase) -> None:
        self._rollouts, self._note = rollouts, note

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Note an update; the summary at the end is none."""
        if not logs or "reward" not in logs:
            return
        judge = self._rollouts.judge
        figures = {ours: float(logs[theirs]) for theirs, ours in _LOGGED.items() if theirs in logs}
        figures |= reward_figures(self._rollouts.judged) | {"update": float(state.global_step)}
        self._note(judge.after_update(figures, state.global_step), self._rollouts.judged)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the run when a limit is reached."""
        stopped = self._rollouts.stopped or self._rollouts.judge.stopped
        if stopped:
            self._rollouts.judge.stopped = stopped
            control.should_training_stop = True
