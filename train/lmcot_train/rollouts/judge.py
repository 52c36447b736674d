"""Write rationales with the policy, score and reward them: what PPO and GRPO have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev

from lmcot_cli.datasets.row import Row
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rewards.reward import Reward, RolledOut
from lmcot_train.rollouts.batch import RolloutGroup
from lmcot_train.rollouts.policy import Policy
from lmcot_train.rollouts.sampling import CompletionReader, Draw, sample
from lmcot_train.rollouts.scored import ScoredRollouts, score
from lmcot_train.rollouts.workers import Workers

RewardFunction = Callable[[Sequence[RolledOut]], list[Reward]]


@dataclass(frozen=True, slots=True)
class RefineTask:
    """Rows to learn from and to validate on (none: no validation), and how rationales are asked for, read, rewarded."""

    rows: Sequence[Row]
    held_out: Sequence[Row]
    encode: Callable[[Row], Sequence[int]]
    reader: CompletionReader
    reward: RewardFunction


@dataclass(frozen=True, slots=True)
class JudgedRationale:
    """A rationale with its reward."""

    item: RolledOut
    reward: Reward


@dataclass(frozen=True, slots=True)
class Judge:
    """Lets a policy write rationales, and judges them.

    Of several processes each writes and scores its share, and the first asks for the rewards of all.
    """

    policy: Policy
    task: RefineTask
    options: PPOOptions
    workers: Workers = field(default_factory=Workers)

    def write(
        self, rows: Sequence[Row], names: Sequence[str], samples: int, *, greedy: bool = False
    ) -> list[RolloutGroup]:
        """Write rationales for this process's share of the rows.

        Args:
            rows: The rows of all processes.
            names: A name for each row, from which the seeds of its samples follow.
            samples: Rationales per row.
            greedy: Take the likeliest tokens instead of drawing.
        """
        draws = [
            Draw(
                tuple(self.task.encode(row)),
                tuple(sample_seed(self.options.seed, name, i) for i in range(samples)),
            )
            for row, name in zip(rows, names, strict=True)
        ]
        self.policy.eval()  # without dropout, whatever a trainer has set
        share = self.workers.share(draws)
        return sample(self.policy, share, self.task.reader, self.options, greedy=greedy)

    def score(self, groups: Sequence[RolloutGroup]) -> list[ScoredRollouts]:
        """Score this process's groups; return those of all processes."""
        return self.workers.gather(score(self.policy, groups, self.options.tokens_per_pass))

    def reward(self, rows: Sequence[Row], scored: Sequence[ScoredRollouts]) -> list[JudgedRationale]:
        """Reward every rationale of all processes.

        Raises:
            LargeCallsSpentError: More calls of the large LM are needed than are left.
            ModelError: The large LM as a whole cannot continue.
        """
        items = [
            self._rolled_out(row, completion, mean)
            for row, one in zip(rows, scored, strict=True)
            for completion, mean in zip(one.group.completions, one.reference_means(), strict=True)
        ]
        rewards = self.workers.from_first(self._ask(items) if self.workers.first else [])
        if isinstance(rewards, LargeCallsSpentError):
            raise rewards
        return [JudgedRationale(item, reward) for item, reward in zip(items, rewards, strict=True)]

    def validate(self) -> dict[str, float]:
        """Write a greedy rationale for each row held out; return the mean rewards."""
        rows = self.task.held_out
        groups = self.write(rows, [str(place) for place in range(len(rows))], 1, greedy=True)
        figures = reward_figures(self.reward(rows, self.score(groups)))
        return {f"validation_{name}": value for name, value in figures.items()}

    def _ask(self, items: Sequence[RolledOut]) -> list[Reward] | LargeCallsSpentError:
        """Return the rewards, or that no calls are left, which all processes must know."""
        try:
            return self.task.reward(items)
        except LargeCallsSpentError as error:
            return error

    def _rolled_out(self, row: Row, completion: Sequence[int], logprob: float) -> RolledOut:
        text = self.task.reader.read(completion)
        return RolledOut(row, text.rationale, text.finished, logprob)


def reward_figures(judged: Sequence[JudgedRationale]) -> dict[str, float]:
    """Average the rewards of rationales and their parts."""
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
