"""When a row has enough samples: adaptive self-consistency.

A rule returns how many samples to draw next, 0 when the vote needs no more. It asks for the fewest that could settle
the vote if they all agreed, so it never draws a sample that a rule applied after every single one would not have
drawn, but still gives the engine several at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.answer_values import answer_key
from lmcot_cli.pipeline.vote import Ballot, Tally, tally

_HIGHEST_WEIGHT = 1.0


class StoppingRule(Protocol):
    """Decides after every wave of samples."""

    def next_wave(self, ballots: Sequence[Ballot], planned: int) -> int:
        """Return how many samples to draw next.

        Args:
            ballots: The votes so far, in the order of the samples.
            planned: The most samples to draw, those so far included.
        """
        ...


@dataclass(frozen=True, slots=True)
class DrawAll:
    """Draws all samples at once."""

    def next_wave(self, ballots: Sequence[Ballot], planned: int) -> int:
        """Return all that are left."""
        return planned - len(ballots)


@dataclass(frozen=True, slots=True)
class Lossless:
    """Stops when the leader can no longer be caught: the winner is that of all samples."""

    def next_wave(self, ballots: Sequence[Ballot], planned: int) -> int:
        """Return the fewest samples after which the leader could be out of reach."""
        ranked = tally(ballots)
        return _fewest(planned - len(ballots), lambda more, left: out_of_reach(ranked, more, left))


@dataclass(frozen=True, slots=True)
class Beta:
    """Stops when the leader is the majority of all possible samples with probability `confidence`.

    The Beta criterion of Adaptive-Consistency (Aggarwal et al. 2023, arXiv 2305.11860, section 3.1): with v1 and
    v2 votes for the two leading answers, P(p1 > p2) = 1 - I_0.5(v1 + 1, v2 + 1). It stops as well where the
    leader can no longer be caught.
    """

    confidence: float = 0.95

    def next_wave(self, ballots: Sequence[Ballot], planned: int) -> int:
        """Return the fewest samples after which the leader could be ahead for good."""
        ranked = tally(ballots)
        return _fewest(planned - len(ballots), lambda more, left: self._settled(ranked, more, left))

    def _settled(self, ranked: Sequence[Tally], more: int, left: int) -> bool:
        leader, runner_up = leaders(ranked)
        return majority_probability(leader + more, runner_up) >= self.confidence or out_of_reach(
            ranked, more, left
        )


@dataclass(frozen=True, slots=True)
class Window:
    """Stops when all samples of a window agree.

    Early-stopping self-consistency (Li et al. 2024, arXiv 2401.10480, algorithm 1): samples are drawn in windows
    of `size`, and the first window of one answer only ends it.
    """

    size: int = 5

    def next_wave(self, ballots: Sequence[Ballot], planned: int) -> int:
        """Return what the current window lacks, or a whole one; 0 after one with a single answer."""
        begun = len(ballots) % self.size
        answers = {None if one is None else answer_key(one) for one, _ in ballots[-self.size :]}
        if not begun and len(answers) == 1 and None not in answers:
            return 0
        return min(self.size - begun, planned - len(ballots))


def leaders(ranked: Sequence[Tally]) -> tuple[float, float]:
    """Return the weights of the two leading answers, 0 for a missing one."""
    first, second = ([one.weight for one in ranked[:2]] + [0.0, 0.0])[:2]
    return first, second


def out_of_reach(ranked: Sequence[Tally], more: int, left: int) -> bool:
    """Whether no answer can overtake the leader, once it has `more` votes, with `left` samples to come.

    Each of these may have the highest weight. An answer that draws level with the leader wins only if it came first,
    which a new answer never did.
    """
    leader, *rivals = ranked or [Tally("", 0.0, 0)]
    weight, most = leader.weight + more * _HIGHEST_WEIGHT, left * _HIGHEST_WEIGHT
    return most <= weight and all(
        rival.weight + most < weight or (rival.first > leader.first and rival.weight + most == weight)
        for rival in rivals
    )


def majority_probability(leader: float, runner_up: float) -> float:
    """Return P(p1 > p2) for two answers with these votes, under a uniform prior."""
    from scipy.special import betainc

    return 1.0 - float(betainc(leader + 1, runner_up + 1, 0.5))


def _fewest(left: int, settled: Callable[[int, int], bool]) -> int:
    """Return the smallest number of further votes for the leader that settles the vote; 0 if it is settled."""
    return next((more for more in range(left) if settled(more, left - more)), left)


def parse_stop(text: str) -> StoppingRule:
    """Parse a rule as `--stop` writes it.

    Raises:
        UsageError: There is no such rule, or its number is out of range.
    """
    if rule := _read_rule(text):
        return rule
    raise UsageError(
        f"--stop {text}: write none, lossless, beta:CONFIDENCE (beta:0.95) or window:SIZE (window:5);"
        " a confidence lies between 0.5 and 1, a window holds 2 or more"
    )


def _read_rule(text: str) -> StoppingRule | None:
    name, _, number = text.partition(":")
    simple: dict[str, StoppingRule] = {
        "none": DrawAll(), "lossless": Lossless(), "beta": Beta(), "window": Window(),
    }  # fmt: skip
    if text in simple:
        return simple[text]
    try:
        if name == "beta" and 0.5 < (confidence := float(number)) < 1:
            return Beta(confidence)
        if name == "window" and (size := int(number)) >= 2:
            return Window(size)
    except ValueError:
        pass
    return None
