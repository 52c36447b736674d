"""How many calls to have in flight: grow while latency holds, halve when the endpoint refuses."""

from __future__ import annotations

from dataclasses import dataclass

START = 8
SLOWER = 2.0
"""Latency has risen, and growing stops, at this many times its best."""

_NOISE = 0.05
"""Seconds that mean nothing, for this machine is busy, too: of latency, and between two cuts."""

_SAME = 1.25
"""A bound that is less than this many times the limit met before has met the same limit again. A refusal below a number
that works, by this factor, strikes at random."""

_SMOOTHING = 0.06
"""Of latency, the number at work and the share of refusals: replies arrive in bursts, and a burst's peak is more than
the endpoint holds."""

_SHORT_OF_LIMIT = 0.97
"""Share of the number seen to work that is gone back to at once, since the whole of it would meet the limit again."""

_STRAY_SHARE = 0.01
"""With a larger share of refusals at numbers that work, they are taken to strike at random."""

_FORGETTING = 2.0 ** (1 / 600)
"""By how much the best latency drifts upwards in a second: an endpoint that became slower for good is not held to
what it was."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What is remembered of a call in flight.

    Attributes:
        at: When it was sent.
        in_flight: How many were in flight with it.
        answers: Calls answered before.
    """

    at: float
    in_flight: int
    answers: int


class InFlight:
    """The adaptive bound: additive increase, multiplicative decrease, as in TCP.

    It doubles with every round trip until latency rises or a call is refused. A refusal halves it, once a round trip,
    since until then the endpoint is at work on what it had before. Then it doubles again up to the number lately seen
    to work, and from there grows by one a round trip, or more slowly where it has met a limit again and again. The
    number seen to work is how many calls the endpoint has at work, which is how many are answered while one is in
    flight; not how many are in flight here, some of which wait to be read, or to be refused. It is never more than
    what was refused: where this machine is slow to read, all that wait to be read seem to be at work. So a server with
    room for 64 is found out and kept full with few refusals. Refusals that strike at random show no limit: while there
    are such, a number works when the call that made it that many is answered.

    Args:
        most: The bound is never above this.

    Attributes:
        count: Calls in flight.
        aside: Those of them that are known to be silent, and take no place of others except under `most`.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._bound = min(float(START), self._most)
        self._limit_met: float | None = None
        self._caution = 1.0
        self._cut_counts_from = float("-inf")
        self._works = self._works_now = self._at_work = self._stray = 0.0
        self._latency: float | None = None
        self._best, self._best_at = float("inf"), 0.0
        self._answers = self.count = self.aside = 0

    @property
    def bound(self) -> int:
        """Return how many calls may be in flight now."""
        return int(self._bound)

    @property
    def full(self) -> bool:
        """Whether another call has to wait."""
        return self.exhausted or self.count - self.aside >= self.bound

    @property
    def exhausted(self) -> bool:
        """Whether as many calls are in flight as ever may be."""
        return self.count >= self._most

    @property
    def patience(self) -> float:
        """Return the seconds after which an answer should have come, a second at least."""
        return max(1.0, 3.0 * (self._latency or 0.0))

    def sent(self, now: float) -> Sent:
        """Count a call that is sent; `over` is to follow, and then `answered` or `refused` if it was that."""
        self.count += 1
        return Sent(now, self.count - self.aside, self._answers)

    def over(self) -> None:
        """Count a call that has ended, however it did."""
        self.count -= 1

    def answered(self, sent: Sent, now: float) -> None:
        """Learn from a call that was answered."""
        self._answers += 1
        self._watch_for_stray(sent, refused=False)
        at_work = min(sent.in_flight, self._answers - sent.answers)
        self._at_work += _SMOOTHING * (at_work - self._at_work)
        strays = self._stray > _STRAY_SHARE
        self._works_now = float(sent.in_flight) if strays else _SHORT_OF_LIMIT * self._at_work
        self._works = max(self._works, self._works_now)
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
        self._watch_for_stray(sent, refused=True)
        self._bound = max(1.0, min(self._bound, float(self.count - self.aside)))
        if sent.at < self._cut_counts_from:
            return
        self._cut_counts_from = now + max(self._latency or 0.0, _NOISE)
        self._learn_limit()
        self._bound = max(1.0, self._bound / 2)

    def _watch_for_stray(self, sent: Sent, *, refused: bool) -> None:
        """Learn the share of refusals where no limit is near."""
        if sent.in_flight < self._works / _SAME:
            self._stray += _SMOOTHING * (refused - self._stray)

    def _learn_limit(self) -> None:
        """Remember where the limit is; where nothing worked lately, the endpoint is down, which shows no limit."""
        if not self._works_now:
            return
        met, strays = self._limit_met or 0.0, self._stray > _STRAY_SHARE
        again = not strays and self._bound <= met * _SAME
        self._caution = self._caution + 1.0 if again else 1.0
        self._limit_met = self._bound
        self._works, self._works_now = min(self._works_now, _SHORT_OF_LIMIT * self._bound), 0.0

    def _latency_holds(self, seconds: float, now: float) -> bool:
        before = seconds if self._latency is None else self._latency
        self._latency = before + _SMOOTHING * (seconds - before)
        drifted = self._best * _FORGETTING ** (now - self._best_at)
        self._best, self._best_at = min(drifted, self._latency), now
        return self._latency <= SLOWER * self._best + _NOISE
