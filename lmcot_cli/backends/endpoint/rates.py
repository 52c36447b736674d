"""Requests and tokens per minute: no 60 seconds, whenever they begin, hold more than the limit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MINUTE = 60.0
ARRIVAL = 2.0
"""Seconds that a call may take to arrive, for which it counts longer: the server counts arrivals, and of two calls sent
a minute apart the first may have taken longer on its way."""


@dataclass(slots=True)
class RateEntry:
    """An amount that counts until a moment."""

    amount: int
    until: float


class SlidingWindow:
    """At most `limit` in any `period` seconds.

    Args:
        limit: Most units in a period.
        period: Seconds.
    """

    def __init__(self, limit: int, period: float = MINUTE) -> None:
        self.limit, self._counts_for = limit, period + min(ARRIVAL, period / 10)
        self._entries: deque[RateEntry] = deque()
        self._total = 0

    def wait(self, amount: int, now: float) -> float:
        """Return the seconds until `amount`, at most `limit`, may be taken; 0 for now."""
        self._expire(now)
        total, until = self._total, now
        for entry in self._entries:
            if total + amount <= self.limit:
                break
            total, until = total - entry.amount, entry.until
        return until - now

    def take(self, amount: int, now: float) -> RateEntry:
        """Count `amount` from now on."""
        entry = RateEntry(amount, now + self._counts_for)
        self._entries.append(entry)
        self._total += amount
        return entry

    def correct(self, entry: RateEntry, amount: int, now: float) -> None:
        """Replace an estimated amount by the true one."""
        self._expire(now)
        if entry.until > now:
            self._total += amount - entry.amount
            entry.amount = amount

    def _expire(self, now: float) -> None:
        while self._entries and self._entries[0].until <= now:
            self._total -= self._entries.popleft().amount


class RatePace:
    """An even flow: at most one second's share at once, since endpoints divide their minutes."""

    def __init__(self, limit: int, period: float = MINUTE) -> None:
        self._rate = limit / period
        self._room = max(1.0, self._rate)
        self._level, self._at = self._room, 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next may go."""
        self._fill(now)
        return max(0.0, (1.0 - self._level) / self._rate)

    def take(self, now: float) -> None:
        """Count one that goes now."""
        self._fill(now)
        self._level -= 1.0

    def _fill(self, now: float) -> None:
        self._level = min(self._room, self._level + (now - self._at) * self._rate)
        self._at = now


class Rates:
    """The limits of one endpoint.

    Args:
        rpm: Maximum requests in any period; None for no limit.
        tpm: Maximum tokens in any period, likewise.
        period: Seconds; a minute except in tests.
    """

    def __init__(self, rpm: int | None, tpm: int | None, period: float = MINUTE) -> None:
        self._requests = SlidingWindow(rpm, period) if rpm else None
        self._pace = RatePace(rpm, period) if rpm else None
        self._tokens = SlidingWindow(tpm, period) if tpm else None

    def wait(self, tokens: int, now: float) -> float:
        """Return the seconds until a request of so many tokens may be sent."""
        return max(
            self._requests.wait(1, now) if self._requests else 0.0,
            self._pace.wait(now) if self._pace else 0.0,
            self._tokens.wait(tokens, now) if self._tokens else 0.0,
        )

    def take(self, tokens: int, now: float) -> RateEntry | None:
        """Count a request that is sent now; return what `correct` takes."""
        if self._requests and self._pace:
            self._requests.take(1, now)
            self._pace.take(now)
        return self._tokens.take(tokens, now) if self._tokens else None

    def correct(self, entry: RateEntry | None, tokens: int, now: float) -> None:
        """Replace the estimated tokens of a request by those that the endpoint counted."""
        if self._tokens and entry:
            self._tokens.correct(entry, tokens, now)
