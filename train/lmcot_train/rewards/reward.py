"""The reward of a rationale: is the large LM right from it, is the text good, does it end and support the answer.

total = task weight * R_task + aspects weight * R_aspect - the sum of the weighted penalties
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lmcot_cli.backends.base import Backend
from lmcot_cli.datasets.row import Row
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.scoring.metrics import score_answer
from lmcot_train.rewards.aspects import EQUAL_WEIGHTS, score_aspects, weighted_mean
from lmcot_train.rewards.chain import read_chain
from lmcot_train.rewards.large_answers import LargeAnswers
from lmcot_train.rewards.options import RewardOptions
from lmcot_train.rewards.penalties import loop_share, unsupported


@dataclass(frozen=True, slots=True)
class RolledOut:
    """A rationale to reward.

    Attributes:
        row: The row that it was written for, with a gold answer.
        rationale: The text, as inference reads it.
        finished: Whether it ended in an end token or stop string.
        logprob: Mean log-probability per token under the reference LM; None leaves fluency out.
    """

    row: Row
    rationale: str
    finished: bool
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Reward:
    """The reward of a rationale with its parts.

    Attributes:
        total: The weighted sum.
        task: R_task, 0 to 1, before its weight.
        aspects: Each aspect that could be scored, 0 to 1.
        penalties: What was subtracted, weighted.
        answer: The large LM's answer from the rationale; None if it gave none.
        aspect_mean: R_aspect, before its weight.
    """

    total: float
    task: float
    aspects: Mapping[str, float]
    penalties: Mapping[str, float]
    answer: str | None
    aspect_mean: float


class RationaleReward:
    """The reward as a function of a batch of rationales; `answers` counts calls, cache hits and refusals."""

    def __init__(self, options: RewardOptions, large: Backend, prompts: PromptBuilder) -> None:
        self.options = options
        self.answers = LargeAnswers(
            large, prompts, options.max_large_calls, options.max_answer_tokens, options.memory
        )

    def __call__(self, items: Sequence[RolledOut]) -> list[Reward]:
        """Reward each rationale; the large LM is asked once for all of them.

        Raises:
            LargeCallsSpentError: More calls are needed than `max_large_calls` leaves.
            ModelError: The large LM as a whole cannot continue.
        """
        answers = self.answers([(item.row, item.rationale) for item in items])
        return [reward(item, answer, self.options) for item, answer in zip(items, answers, strict=True)]


def reward(item: RolledOut, answer: str | None, options: RewardOptions) -> Reward:
    """Return the reward of a rationale from which the large LM gave `answer`."""
    chain = read_chain(item.row, item.rationale, answer, item.logprob)
    aspects = score_aspects(chain)
    mean = weighted_mean(aspects, options.aspect_weights or EQUAL_WEIGHTS)
    task = task_reward(answer, item.row.answers, options.task_metric)
    penalties = {
        "loops": options.loop_penalty * loop_share(chain.words),
        "unfinished": options.unfinished_penalty * (not item.finished),
        "unsupported": options.unsupported_penalty * unsupported(chain),
    }
    total = options.task_weight * task + options.aspects_weight * mean - sum(penalties.values())
    return Reward(total, task, aspects, penalties, answer, mean)


def task_reward(answer: str | None, accepted: Sequence[str], metric: Literal["em", "f1"]) -> float:
    """Return R_task: the answer's exact match or F1 against the accepted ones, 0 without an answer."""
    scores = score_answer(answer, accepted)
    return scores.exact_match if metric == "em" else scores.f1
