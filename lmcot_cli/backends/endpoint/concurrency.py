"""How many calls to have in flight: grow while latency holds, halve when the endpoint refuses."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

START = 8
SLOWER = 2.0
"""Latency has risen, and growing stops, at this many times its best."""

_NOISE = 0.05
"""Seconds of latency that mean nothing: this machine is busy, too."""

_ROUNDS_REMEMBERED = 3
_MOST_CAUTION = 64.0
_SAME = 1.25
"""Two bounds no further apart than this are one limit, met twice."""

_CUT_AGAIN = 0.25
"""Seconds between two cuts at least: of an endpoint that answers at once, many round trips fit in what one refusal
costs."""

_SMOOTHING = 0.1
_FORGETTING = 2.0 ** (1 / 600)
"""By how much the best latency drifts upwards in a second: an endpoint that became slower for good is not held to
what it was."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What is remembered of a call in flight: when it was sent, and how many were in flight with it."""

    at: float
    in_flight: int


class InFlight:
    """The adaptive bound: additive increase, multiplicative decrease, as in TCP.

    It doubles with every round trip until latency rises or a call is refused. A refusal halves it, once a round trip,
    since until then the endpoint is at work on what it had before, and no more than four times a second. Then it
    doubles again up to the number lately seen to work, and from there grows by one a round trip, or more slowly where
    it has met a limit again and again. A number is seen to work when the call that made it that many is answered. So
    a server with room for 64 is found out and kept full, and refusals that strike at random cost little.

    Args:
        most: The bound is never above this.

    Attributes:
        count: Calls in flight.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._bound = min(float(START), self._most)
        self._works = 0.0
        self._limit_met: float | None = None
        self._caution = 1.0
        self._cut_counts_from = float("-inf")
        self._proven: deque[int] = deque([0], maxlen=_ROUNDS_REMEMBERED)
        self._latency: float | None = None
        self._best, self._best_at = float("inf"), 0.0
        self.count = 0

    @property
    def bound(self) -> int:
        """Return how many calls may be in flight now."""
        return int(self._bound)

    @property
    def full(self) -> bool:
        """Whether another call has to wait."""
        return self.count >= self.bound

    @property
    def patience(self) -> float:
        """Return the seconds after which an answer should have come, a second at least."""
        return max(1.0, 3.0 * (self._latency or 0.0))

    def sent(self, now: float) -> Sent:
        """Count a call that is sent; `over` is to follow, and then `answered` or `refused` if it was that."""
        self.count += 1
        return Sent(now, self.count)

    def over(self) -> None:
        """Count a call that has ended, however it did."""
        self.count -= 1

    def answered(self, sent: Sent, now: float) -> None:
        """Learn from a call that was answered."""
        self._proven[-1] = max(self._proven[-1], sent.in_flight)
        self._works = max(self._works, float(sent.in_flight))
        held = self._latency_holds(now - sent.at, now)
        if 2 * sent.in_flight < self._bound:
            return  # the bound was not in use, which says nothing of more
        if self._bound < self._works:
            self._bound += 1.0
        elif held:
            step = 1.0 if self._limit_met is None else 1.0 / (self._bound * self._caution)
            self._bound = min(self._bound + step, self._most)

    def refused(self, sent: Sent, now: float) -> None:
        """Learn from a call that the endpoint was too busy for; `over` comes before.

        It was one too many at least, so none takes its place until another is answered.
        """
        self._bound = max(1.0, min(self._bound, float(self.count)))
        if sent.at < self._cut_counts_from:
            return
        self._cut_counts_from = now + max(self._latency or 0.0, _CUT_AGAIN)
        self._learn_limit(max(self._proven))
        self._bound = max(1.0, self._bound / 2)
        self._proven.append(0)

    def _learn_limit(self, proven: int) -> None:
        """Remember where the limit is; where nothing worked lately, the endpoint is down, which shows no limit."""
        if not proven:
            return
        met = self._limit_met or 0.0
        again = met / _SAME <= self._bound <= met * _SAME
        self._caution = min(2.0 * self._caution, _MOST_CAUTION) if again else 1.0
        self._limit_met, self._works = self._bound, float(proven)

    def _latency_holds(self, seconds: float, now: float) -> bool:
        before = seconds if self._latency is None else self._latency
        self._latency = before + _SMOOTHING * (seconds - before)
        drifted = self._best * _FORGETTING ** (now - self._best_at)
        self._best, self._best_at = min(drifted, self._latency), now
        return self._latency <= SLOWER * self._best + _NOISE
