"""The loop of PPO: sample, reward, estimate advantages, learn; hold the KL; keep what is needed to continue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import torch

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import LmcotError
from lmcot_train.ppo.advantages import leave_one_out
from lmcot_train.ppo.checkpoint import Checkpoints
from lmcot_train.ppo.experience import build
from lmcot_train.ppo.kl import adapted_coefficient
from lmcot_train.ppo.learner import Learner
from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rollouts.best_weights import BestWeights
from lmcot_train.rollouts.judge import Judge, JudgedRationale, reward_figures
from lmcot_train.rollouts.monitor import Monitor, RefineProgress
from lmcot_train.rollouts.scored import ScoredRollouts

Clock = Callable[[], float]


class Trainer:
    """Refines the policy of a judge, from the last checkpoint in `folder` if there is one; without a folder keeps none.

    Attributes:
        learner: The policy with its optimizer.
        monitor: How far the run has come, and why it ended.
    """

    def __init__(self, judge: Judge, folder: Path | None = None, clock: Clock = time.monotonic) -> None:
        judge.options.check()
        self.judge, self.options, self._clock = judge, judge.options, clock
        self.learner = Learner.create(judge.policy, judge.options, judge.workers)
        self._checkpoints = Checkpoints(folder) if folder else None
        kept = self._checkpoints.restore(self.learner) if self._checkpoints else None
        progress = kept or RefineProgress(judge.options.kl_coefficient)
        self.monitor = Monitor(judge, progress, BestWeights(folder) if folder else None)

    def run(self) -> Iterator[tuple[dict[str, float], list[JudgedRationale]]]:
        """Make updates until one of the limits is reached.

        Yields:
            The figures of each update and what was sampled for it. The state is kept every `save_every` updates, once
            the caller asks for the next one, and at the end.

        Raises:
            ModelError: The large LM as a whole cannot continue; what was learned so far is kept.
            OutputError: The state cannot be written.
        """
        if self.monitor.progress.update == 0:
            yield self.monitor.validated({"update": 0.0}), []
        while self.monitor.continues:
            started = self._clock()
            try:
                figures, judged = self._update()
                figures = self.monitor.close_update(figures, self._clock() - started)
            except LargeCallsSpentError as error:
                self.monitor.stopped = str(error)
                break
            except LmcotError:  # of the large model, say
                self.save()
                raise
            yield figures, judged
            if self.monitor.is_due(self.options.save_every):
                self.save()
        self.save()

    def save(self) -> None:
        """Keep the state, so that a killed run continues from here, unless it owes a validation."""
        if self._checkpoints and self.judge.workers.first and not self.monitor.owes_validation:
            self._checkpoints.save(self.learner, self.monitor.progress)

    def _update(self) -> tuple[dict[str, float], list[JudgedRationale]]:
        number, coefficient = self.monitor.progress.update, self.monitor.progress.coefficient
        watch = _Laps(self._clock)
        rows = self._rows(number)
        groups = self.judge.write(rows, [f"{number}/{i}" for i in range(len(rows))], self.options.samples)
        watch.lap("seconds_sampling")
        scored = self.judge.score(groups)
        watch.lap("seconds_scoring")
        judged = self.judge.reward(rows, scored)
        watch.lap("seconds_reward")
        rewards = torch.tensor([one.reward.total for one in judged]).view(len(rows), -1)
        if self.options.leave_one_out:
            rewards = leave_one_out(rewards)
        if number == 0:
            scored = self._start_values(scored, float(rewards.mean()))
        experience = build(scored, rewards, coefficient, self.options)
        learned = self.learner.learn(experience, number)
        watch.lap("seconds_learning")
        adapted = adapted_coefficient(coefficient, experience.figures["kl"], self.options)
        self.monitor.progress = replace(self.monitor.progress, update=number + 1, coefficient=adapted)
        parts = {"update": float(number + 1), **reward_figures(judged), **experience.figures, **learned}
        return {**parts, "kl_coefficient": coefficient, **watch.laps}, judged

    def _rows(self, update: int) -> list[Row]:
        """Return the rows of an update: every pass over the rows has an order of its own."""
        chosen: list[Row] = []
        while len(chosen) < self.options.batch:
            turn, start = divmod(update * self.options.batch + len(chosen), len(self.judge.task.rows))
            order = list(self.judge.task.rows)
            Random(f"{self.options.seed}/{turn}").shuffle(order)
            chosen += order[start : start + self.options.batch - len(chosen)]
        return chosen

    def _start_values(self, scored: Sequence[ScoredRollouts], mean: float) -> list[ScoredRollouts]:
        """Let the untrained value head predict the mean reward, not 0: the first advantages then mean something."""
        with torch.no_grad():
            self.judge.policy.value_head.bias.fill_(mean)
        return [replace(one, values=torch.where(one.mask, mean, 0.0)) for one in scored]


class _Laps:
    """Times the parts of an update."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._last = clock, clock()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Note the time since the last lap."""
        now = self._clock()
        self.laps[name], self._last = now - self._last, now
