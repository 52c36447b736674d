"""Learn how long calls take, and so when one has been silent for longer than is plausible."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_REMEMBERED = 64
"""Answers that are remembered: few enough that an endpoint that slows down is believed within a second or so, enough
that the slowest twentieth is more than one of them."""

_HIGH = 0.95
"""Share of the answers that took no longer than is usual: the slowest may be strays."""

_FACTOR = 3.0
"""A call is silent after this many times what is usual. AIMD lets latency double before it stops growing; on a server
with one slot, the slowest answer of a round takes about twice as long as the 95% of the round before."""

SOONEST = 1.0
"""Seconds within which no call is silent: a busy client alone takes hundreds of milliseconds to read a reply."""

_KNOWN = 16
UNKNOWN = 10.0
"""Seconds within which no call is silent while fewer than that many were answered: models load, caches fill."""


class _Timed(NamedTuple):
    """How long an answer took, the length of its prompt, and its tokens, at least one."""

    seconds: float
    size: int
    tokens: int


class Patience:
    """Learns from the latest answers how long a call may plausibly take.

    Nearly all of them took less than some time. A call may have a longer prompt, or write more tokens, up to its limit:
    the seconds of every answer, divided by its tokens, are an upper bound of the time per token.
    """

    def __init__(self) -> None:
        self._answers: deque[_Timed] = deque(maxlen=_REMEMBERED)
        self._newest = -1
        self._shown: tuple[float, float, int] | None = None

    def learn(self, number: int, seconds: float, size: int, tokens: int) -> None:
        """Learn from an answer.

        Args:
            number: The place of its call in the order in which calls were sent.
            seconds: How long it took.
            size: Length of its prompt.
            tokens: Tokens written.
        """
        self._answers.append(_Timed(seconds, size, max(1, tokens)))
        self._newest = max(self._newest, number)
        self._shown = None

    def usual(self, size: int) -> float:
        """Return the seconds after which a call with a prompt of `size` characters is silent: a usual reply is due."""
        usual, _, longest = self._look_back()
        least = SOONEST if len(self._answers) >= _KNOWN else UNKNOWN
        return max(least, _FACTOR * usual * max(1.0, size / longest))

    def longest(self, size: int, room: int) -> float:
        """Return the seconds after which a call is overdue: the longest reply is due, one of `room` tokens."""
        _, per_token, _ = self._look_back()
        return self.usual(size) + per_token * room

    def _look_back(self) -> tuple[float, float, int]:
        """Return the seconds within which nearly all answers came, a bound per token, and the longest prompt."""
        if self._shown is None:
            ordered = sorted(one.seconds for one in self._answers) or [0.0]
            usual = ordered[min(int(_HIGH * len(ordered)), len(ordered) - 1)]
            per_token = min((one.seconds / one.tokens for one in self._answers), default=0.0)
            self._shown = usual, per_token, max((one.size for one in self._answers), default=1) or 1
        return self._shown

    def overtaken(self, number: int) -> bool:
        """Whether a call that was sent after this one has been answered: the endpoint is at work."""
        return self._newest > number
