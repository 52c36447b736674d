"""Self-consistency: the vote over the values of answers (Wang et al. 2022, arXiv 2203.11171)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lmcot_cli.pipeline.answer_values import answer_key

VoteBy = Literal["majority", "logprob"]


class Ballot(NamedTuple):
    """One sample's vote.

    Attributes:
        answer: The answer; None casts no vote.
        weight: The weight of the vote, above 0 and at most 1.
    """

    answer: str | None
    weight: float = 1.0


class Tally(NamedTuple):
    """The votes of one answer.

    Attributes:
        answer: The answer in the spelling of its earliest sample.
        weight: The sum of its votes.
        first: The index of that sample.
    """

    answer: str
    weight: float
    first: int


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of a vote.

    Attributes:
        answer: The winner, in the spelling of its earliest sample; None where no sample had an answer.
        agreement: The winner's share of the weight of all samples, 0 to 1.
        votes: The votes of each answer, most first.
    """

    answer: str | None
    agreement: float
    votes: dict[str, float]


def weight_of(logprob: float) -> float:
    """Return the weight of a vote by its answer's mean log-probability: the geometric mean over its tokens."""
    return math.exp(min(logprob, 0.0))


def tally(ballots: Iterable[Ballot]) -> list[Tally]:
    """Return the votes added up by the value of the answer, most first; of equals the earlier first."""
    found: dict[str, Tally] = {}
    for index, (answer, weight) in enumerate(ballots):
        if answer is not None:
            key = answer_key(answer)
            before = found.get(key, Tally(answer, 0.0, index))
            found[key] = before._replace(weight=before.weight + weight)
    return sorted(found.values(), key=lambda one: -one.weight)  # stable: the earlier stays before its equals


def count_votes(ballots: Sequence[Ballot]) -> Vote:
    """Count the votes.

    A sample without an answer casts no vote but still counts as a sample, so it lowers the agreement. A tie goes to
    the answer that an earlier sample gave. The spelling shown is the earliest one, not the most common one, so it does
    not depend on samples that can no longer change the winner.

    Args:
        ballots: One per sample, in the order of the samples.
    """
    ranked = tally(ballots)
    votes = {one.answer: _plain(one.weight) for one in ranked}
    if not ranked:
        return Vote(None, 0.0, votes)
    whole = sum(ballot.weight for ballot in ballots)
    return Vote(ranked[0].answer, ranked[0].weight / whole if whole else 0.0, votes)


def _plain(weight: float) -> float:
    """Return whole votes as whole numbers."""
    return int(weight) if weight == int(weight) else round(weight, 6)
