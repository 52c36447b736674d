"""The reward of a rationale: is the large LM right from it, is the text good, does it end, does it bear the answer out.

total = task weight * R_task + aspects weight * R_aspect - the sum of the weighted penalties
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal

from lmcot_cli.backends.base import Backend
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.scoring.metrics import score_answer
from lmcot_train.rewards.aspects import ASPECTS, score_aspects, weighted_mean
from lmcot_train.rewards.chain import read_chain
from lmcot_train.rewards.large_answers import LargeAnswers
from lmcot_train.rewards.penalties import loop_share, unsupported

_WEIGHTS = ("task_weight", "aspects_weight", "loop_penalty", "unfinished_penalty", "unsupported_penalty")
EQUAL_WEIGHTS: Mapping[str, float] = dict.fromkeys(ASPECTS, 1.0)


@dataclass(frozen=True, slots=True)
class RewardOptions:
    """What a reward is made of.

    Attributes:
        task_weight: Of R_task, whether the large LM is right.
        aspects_weight: Of R_aspect, the weighted mean of the eight aspects.
        loop_penalty: Taken off times the share of words that go round in circles.
        unfinished_penalty: Taken off a rationale that came to no end.
        unsupported_penalty: Taken off times how far the answer lacks support in what the rationale says.
        aspect_weights: Of each aspect within R_aspect.
        task_metric: `em` (1 if the answer equals a gold one) or `f1`.
        max_answer_tokens: Tokens the large LM's answer may take.
        max_large_calls: Most prompts to send to the large LM; None is no limit.
        memory: File that keeps the large LM's replies between sessions; None keeps them while the process lives.
    """

    task_weight: float = 1.0
    aspects_weight: float = 0.5
    loop_penalty: float = 0.5
    unfinished_penalty: float = 0.5
    unsupported_penalty: float = 0.25
    aspect_weights: Mapping[str, float] = field(default_factory=lambda: dict(EQUAL_WEIGHTS))
    task_metric: Literal["em", "f1"] = "em"
    max_answer_tokens: int = AnswerOptions().max_answer_tokens
    max_large_calls: int | None = None
    memory: Path | None = None

    def check(self) -> None:
        """Refuse weights that no reward can be added up with, and a limit below 0.

        Raises:
            UsageError: Names the option.
        """
        for name in _WEIGHTS:
            if not isfinite(weight := getattr(self, name)):
                raise UsageError(f"--{name.replace('_', '-')} {weight:g}: give a finite number")
        if self.max_large_calls is not None and self.max_large_calls < 0:
            raise UsageError(f"--max-large-calls {self.max_large_calls}: give 0 or more")


@dataclass(frozen=True, slots=True)
class RolledOut:
    """A rationale to be rewarded.

    Attributes:
        row: The row it was written for; it needs a gold answer.
        rationale: The text, as inference reads it.
        finished: Whether it came to its end token or a stop string.
        logprob: Mean natural-log probability a token under the reference LM; None leaves fluency out.
    """

    row: Row
    rationale: str
    finished: bool
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Reward:
    """What a rationale is worth, and why.

    Attributes:
        total: The weighted sum.
        task: R_task, 0 to 1, before its weight.
        aspects: Each aspect that could be scored, 0 to 1.
        penalties: What was taken off, weighted.
        answer: The large LM's answer from the rationale; None where it gave none.
        aspect_mean: R_aspect, before its weight.
    """

    total: float
    task: float
    aspects: Mapping[str, float]
    penalties: Mapping[str, float]
    answer: str | None
    aspect_mean: float


class RationaleReward:
    """The reward as a function of a batch of rationales.

    Args:
        options: What it is made of.
        large: The frozen large LM.
        prompts: What builds the prompts that the large LM is asked.

    Attributes:
        answers: The large LM's answers, with the counts of calls, cache hits and refusals.
    """

    def __init__(self, options: RewardOptions, large: Backend, prompts: PromptBuilder) -> None:
        self.options = options
        self.answers = LargeAnswers(
            large, prompts, options.max_large_calls, options.max_answer_tokens, options.memory
        )

    def __call__(self, items: Sequence[RolledOut]) -> list[Reward]:
        """Reward each rationale; the large LM is asked once for all of them.

        Raises:
            LargeCallsSpentError: More calls are needed than `max_large_calls` leaves.
            ModelError: The large LM as a whole cannot go on.
        """
        answers = self.answers([(item.row, item.rationale) for item in items])
        return [reward(item, answer, self.options) for item, answer in zip(items, answers, strict=True)]


def reward(item: RolledOut, answer: str | None, options: RewardOptions) -> Reward:
    """Return the reward of a rationale from which the large LM gave `answer`."""
    chain = read_chain(item.row, item.rationale, answer, item.logprob)
    aspects = score_aspects(chain)
    mean = weighted_mean(aspects, options.aspect_weights)
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
