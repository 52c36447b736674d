"""Requests and tokens per minute: no 60 seconds, wherever they begin, ever hold more than the limit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MINUTE = 60.0
ARRIVAL = 2.0
"""Seconds within which a call has arrived after it was sent; so much longer it counts, for the server's clock
measures arrivals, and of two calls sent a minute apart the first may have taken longer on its way."""


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
        """Return the seconds until `amount`, at most `limit`, may be taken: 0 if it may be taken now."""
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
        """Replace what was reckoned by what it was in truth."""
        self._expire(now)
        if entry.until > now:
            self._total += amount - entry.amount
            entry.amount = amount

    def _expire(self, now: float) -> None:
        while self._entries and self._entries[0].until <= now:
            self._total -= self._entries.popleft().amount


class RatePace:
    """An even flow: no more than a second's share at once, since endpoints split their minutes up."""

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


@dataclass(slots=True)
class Rates:
    """The limits of one endpoint; None where there is none.

    Args:
        rpm: Most requests in any period.
        tpm: Most tokens in any period.
        period: Seconds; a minute, unless a test has none to spare.
    """

    rpm: int | None
    tpm: int | None
    period: float = MINUTE
    _requests: SlidingWindow | None = field(init=False)
    _tokens: SlidingWindow | None = field(init=False)
    _pace: RatePace | None = field(init=False)

    def __post_init__(self) -> None:
        self._requests = SlidingWindow(self.rpm, self.period) if self.rpm else None
        self._pace = RatePace(self.rpm, self.period) if self.rpm else None
        self._tokens = SlidingWindow(self.tpm, self.period) if self.tpm else None

    def wait(self, tokens: int, now: float) -> float:
        """Return the seconds until a request of so many tokens may be sent."""
        waits = [0.0]
        if self._requests and self._pace:
            waits += [self._requests.wait(1, now), self._pace.wait(now)]
        if self._tokens:
            waits.append(self._tokens.wait(tokens, now))
        return max(waits)

    def take(self, tokens: int, now: float) -> RateEntry | None:
        """Count a request that is sent now; return what `correct` takes."""
        if self._requests and self._pace:
            self._requests.take(1, now)
            self._pace.take(now)
        return self._tokens.take(tokens, now) if self._tokens else None

    def correct(self, entry: RateEntry | None, tokens: int, now: float) -> None:
        """Replace the tokens that were reckoned by those the endpoint counted."""
        if self._tokens and entry:
            self._tokens.correct(entry, tokens, now)
