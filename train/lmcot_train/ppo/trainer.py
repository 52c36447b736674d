"""The loop of PPO: sample, reward, estimate advantages, learn; hold the KL; validate; keep what is needed to go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, pstdev

import torch

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import LmcotError
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_train.ppo.advantages import leave_one_out
from lmcot_train.ppo.batch import Group
from lmcot_train.ppo.checkpoint import Checkpoints, PpoProgress
from lmcot_train.ppo.experience import ScoredRollouts, build, score
from lmcot_train.ppo.kl import AdaptiveCoefficient
from lmcot_train.ppo.learner import Learner
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.ppo.policy import Policy
from lmcot_train.ppo.rollout import CompletionReader, Draw, RolloutSampling, sample
from lmcot_train.ppo.workers import Workers
from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rewards.reward import Reward, RolledOut

RewardFunction = Callable[[Sequence[RolledOut]], list[Reward]]
Encode = Callable[[Row], Sequence[int]]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be learnt.

    Attributes:
        rows: Rows to write rationales for while learning.
        held_out: Rows to validate on; none: no validation.
        encode: Turns a row into the token ids of its prompt.
        reader: Reads what was written.
        reward: Rewards rationales.
    """

    rows: Sequence[Row]
    held_out: Sequence[Row]
    encode: Encode
    reader: CompletionReader
    reward: RewardFunction


@dataclass(frozen=True, slots=True)
class Judged:
    """A rationale with its reward."""

    item: RolledOut
    reward: Reward


class Trainer:
    """Refines a policy.

    Args:
        policy: What learns.
        task: What is to be learnt.
        options: The settings.
        checkpoints: Where the state is kept; None keeps none.
        workers: The processes that train together.
        clock: Tells the time in seconds.

    Attributes:
        progress: How far it has come; that of the last checkpoint, where there is one.
        stopped: Why the run ended before its last update; None while it goes on, or if it came to its end.
        owes_validation: Whether a validation was begun that the large LM did not let come to its end. Such a state is
            not kept: a run that went on from it would never make that validation.
    """

    def __init__(
        self,
        policy: Policy,
        task: Task,
        options: PPOOptions,
        checkpoints: Checkpoints | None = None,
        workers: Workers | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        options.check()
        self.policy, self.task, self.options = policy, task, options
        self.workers, self._clock = workers or Workers(), clock
        self.learner = Learner.create(policy, options, self.workers)
        self.checkpoints = checkpoints
        self.progress = PpoProgress(coefficient=options.kl_coefficient)
        self.stopped: str | None = None
        self.owes_validation = False
        if checkpoints and (kept := checkpoints.restore(self.learner)):
            self.progress = kept

    def run(self) -> Iterator[tuple[dict[str, float], list[Judged]]]:
        """Make updates until one of the limits is reached.

        Yields:
            After each update its figures and what was sampled for it. The state is kept every `save_every` updates,
            after what was yielded has been taken, and at the end.

        Raises:
            ModelError: The large LM as a whole cannot go on; what was learned so far is kept.
            OutputError: The state cannot be written.
        """
        if self.progress.update == 0:
            yield self.validated({"update": 0.0}), []
        self.stopped = self.stopped or self._out_of_time()
        while self.progress.update < self.options.updates and not self.stopped:
            started = self._clock()
            try:
                figures, judged = self.update()
                figures = self.close_update(figures, self._clock() - started)
            except LargeCallsSpentError as error:
                self.stopped = str(error)
                break
            except LmcotError:  # of the large model, say
                self.save()
                raise
            yield figures, judged
            if self._due(self.options.save_every):
                self.save()
        self.save()

    def update(self) -> tuple[dict[str, float], list[Judged]]:
        """Make one update of PPO."""
        number = self.progress.update
        watch = _Watch(self._clock)
        rows = self._rows(number)
        groups = self._write(rows, number, self.options.samples)
        watch.lap("seconds_sampling")
        scored = self._score(groups)
        watch.lap("seconds_scoring")
        judged = self._judge(rows, scored)
        watch.lap("seconds_reward")
        rewards = torch.tensor([one.reward.total for one in judged]).view(len(rows), -1)
        if self.options.leave_one_out:
            rewards = leave_one_out(rewards)
        if number == 0:
            scored = self._start_values(scored, float(rewards.mean()))
        experience = build(scored, rewards, self.progress.coefficient, self.options)
        learned = self.learner.learn(experience, number)
        watch.lap("seconds_learning")
        kl = AdaptiveCoefficient(self.progress.coefficient, self.options.kl_target, self.options.kl_gain)
        after = kl.after(experience.figures["kl"]).value
        self.progress = replace(self.progress, update=number + 1, coefficient=after)
        parts = {"update": float(number + 1), **reward_figures(judged), **experience.figures, **learned}
        return {**parts, "kl_coefficient": kl.value, **watch.laps}, judged

    def close_update(self, figures: Mapping[str, float], seconds: float) -> dict[str, float]:
        """Count the time of an update, see whether the run is to end, and validate when it is due."""
        seconds = self.workers.from_first(seconds)
        self.progress = replace(self.progress, seconds=self.progress.seconds + seconds)
        self.stopped = self._ran_away(figures) or self._out_of_time()
        if self._due(self.options.validate_every) or self.stopped:
            figures = self.validated(figures)
        return {**figures, "minutes": self.progress.seconds / 60}

    def validate(self) -> tuple[dict[str, float], list[Judged]]:
        """Write a greedy rationale for each row held out, and judge it."""
        groups = self._write(self.task.held_out, 0, 1, greedy=True)
        judged = self._judge(self.task.held_out, self._score(groups))
        return {f"validation_{name}": value for name, value in reward_figures(judged).items()}, judged

    def save(self) -> None:
        """Keep the state, so that a run that is killed goes on from here; not one that owes a validation."""
        if self.checkpoints and self.workers.first and not self.owes_validation:
            self.checkpoints.save(self.learner, self.progress)

    def _rows(self, update: int) -> list[Row]:
        """Return the rows of an update: every pass over the rows has an order of its own."""
        chosen: list[Row] = []
        while len(chosen) < self.options.batch:
            turn, start = divmod(update * self.options.batch + len(chosen), len(self.task.rows))
            order = list(self.task.rows)
            Random(f"{self.options.seed}/{turn}").shuffle(order)
            chosen += order[start : start + self.options.batch - len(chosen)]
        return chosen

    def _write(self, rows: Sequence[Row], update: int, samples: int, *, greedy: bool = False) -> list[Group]:
        """Write the completions of this process's share of the rows."""
        draws = [
            Draw(
                tuple(self.task.encode(row)),
                tuple(sample_seed(self.options.seed, f"{update}/{place}", i) for i in range(samples)),
            )
            for place, row in enumerate(rows)
        ]
        writing = RolloutSampling(
            self.task.reader, self.options.max_tokens, self.options.tokens_per_pass, greedy=greedy
        )
        return sample(self.policy, self.workers.share(draws), writing)

    def _score(self, groups: Sequence[Group]) -> list[ScoredRollouts]:
        """Score this process's groups; return those of all processes."""
        return self.workers.gather(score(self.policy, groups, self.options.tokens_per_pass))

    def _judge(self, rows: Sequence[Row], scored: Sequence[ScoredRollouts]) -> list[Judged]:
        """Reward every rationale, in the first process; the others are told."""
        items = [
            self._rolled_out(row, completion, mean)
            for row, one in zip(rows, scored, strict=True)
            for completion, mean in zip(one.group.completions, one.reference_means(), strict=True)
        ]
        rewards = self.workers.from_first(self._ask(items) if self.workers.first else [])
        if isinstance(rewards, LargeCallsSpentError):
            raise rewards
        return [Judged(item, reward) for item, reward in zip(items, rewards, strict=True)]

    def _ask(self, items: Sequence[RolledOut]) -> list[Reward] | LargeCallsSpentError:
        """Return the rewards, or that no more calls are left, which all processes are to know."""
        try:
            return self.task.reward(items)
        except LargeCallsSpentError as error:
            return error

    def _rolled_out(self, row: Row, completion: Sequence[int], logprob: float) -> RolledOut:
        text = self.task.reader.read(completion)
        return RolledOut(row, text.rationale, text.finished, logprob)

    def _start_values(self, scored: Sequence[ScoredRollouts], mean: float) -> list[ScoredRollouts]:
        """Let the untrained value head, which says 0, say the mean reward: its first advantages then mean something."""
        with torch.no_grad():
            self.policy.value_head.bias.fill_(mean)
        return [replace(one, values=torch.where(one.mask, mean, 0.0)) for one in scored]

    def validated(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Add the figures of a validation; keep the weights if they are the best so far.

        The run is to end where the validation would take more calls of the large LM than are left.
        """
        if not self.task.held_out:
            return dict(figures)
        self.owes_validation = True
        try:
            found, _ = self.validate()
        except LargeCallsSpentError as error:
            self.stopped = str(error)
            return dict(figures)
        self.owes_validation = False
        if self.progress.best is None or found["validation_reward"] > self.progress.best:
            self._keep_best(found["validation_reward"])
        return {**figures, **found}

    def _keep_best(self, reward: float) -> None:
        self.progress = replace(self.progress, best=reward, best_update=self.progress.update)
        if self.checkpoints and self.workers.first:
            self.checkpoints.keep_best(self.policy)

    def _due(self, every: int) -> bool:
        done = self.progress.update
        return every > 0 and (done % every == 0 or done == self.options.updates)

    def _ran_away(self, figures: Mapping[str, float]) -> str | None:
        if figures["kl"] <= self.options.run_kl:
            return None
        return f"the KL to the reference ran away: {figures['kl']:.1f} nats a rationale"

    def _out_of_time(self) -> str | None:
        minutes = self.options.minutes
        if minutes is None or self.progress.seconds < minutes * 60:
            return None
        return f"the {minutes:g} minutes are over"


def reward_figures(judged: Sequence[Judged]) -> dict[str, float]:
    """Average rewards and their parts over rationales."""
    rewards = [one.reward for one in judged]
    figures = {
        "reward": fmean(one.total for one in rewards),
        "reward_spread": pstdev(one.total for one in rewards),
        "task": fmean(one.task for one in rewards),
        "finished": fmean(one.item.finished for one in judged),
    }
    for kind in ("aspects", "penalties"):
        for name in getattr(rewards[0], kind):
            figures[f"{kind}/{name}"] = fmean(getattr(one, kind)[name] for one in rewards)
    return figures


class _Watch:
    """Times the parts of an update."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._last = clock, clock()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Note the time since the last lap."""
        now = self._clock()
        self.laps[name], self._last = now - self._last, now
