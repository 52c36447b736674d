"""How long calls take here, and so when one has been silent for longer than any should be."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_REMEMBERED = 64
"""Answers that are looked back at: few enough that an endpoint that slows down is believed within a second or so of
answers, enough that the highest twentieth is more than one of them."""

_HIGH = 0.95
"""Share of the answers that took as long as is usual, or less: the longest may be a stray one."""

_FACTOR = 3.0
"""A call is silent after this many times what is usual. AIMD lets latency double before it stops growing; with a
queue of one slot, the worst answer of a round takes about twice what the 95% of the round before did."""

SOONEST = 1.0
"""Seconds within which no call is overdue: a busy client alone takes hundreds of milliseconds to look at a reply."""

_KNOWN = 16
UNKNOWN = 10.0
"""Seconds within which no call is overdue while fewer than that many were answered: models load, caches fill."""


class TimedAnswer(NamedTuple):
    """What is remembered of a call that was answered.

    Attributes:
        number: Its place in the order in which calls were sent.
        seconds: How long it took.
        size: Length of its prompt.
        tokens: Tokens written, one at least.
    """

    number: int
    seconds: float
    size: int
    tokens: int


class Patience:
    """Learns from the latest answers how long a call may plausibly take.

    Nearly all took less than some time, for prompts such as theirs. But a call may write more than they did, up to its
    limit: every answer bounds the time per token from above, by its own seconds over its tokens.
    """

    def __init__(self) -> None:
        self._answers: deque[TimedAnswer] = deque(maxlen=_REMEMBERED)
        self._shown: tuple[float, float, int] | None = None

    def learn(self, answer: TimedAnswer) -> None:
        """Look at an answer."""
        self._answers.append(answer)
        self._shown = None

    def usual(self, size: int) -> float:
        """Return the seconds after which a call is silent: a reply such as others have would be there.

        Args:
            size: Length of its prompt.
        """
        usual, _, longest = self._look_back()
        least = SOONEST if len(self._answers) >= _KNOWN else UNKNOWN
        return max(least, _FACTOR * usual * max(1.0, size / longest))

    def longest(self, size: int, room: int) -> float:
        """Return the seconds after which a call is overdue: the longest reply that it may have would be there.

        Args:
            size: Length of its prompt.
            room: Most tokens of its reply.
        """
        _, per_token, _ = self._look_back()
        return self.usual(size) + per_token * room

    def _look_back(self) -> tuple[float, float, int]:
        """Return the seconds of nearly all answers, a bound of those per token, and the longest prompt."""
        if self._shown is None:
            ordered = sorted(one.seconds for one in self._answers) or [0.0]
            usual = ordered[min(int(_HIGH * len(ordered)), len(ordered) - 1)]
            per_token = min((one.seconds / one.tokens for one in self._answers), default=0.0)
            self._shown = usual, per_token, max((one.size for one in self._answers), default=1) or 1
        return self._shown

    def overtaken(self, number: int) -> bool:
        """Whether a call that was sent after this one has been answered: the endpoint is at work."""
        return any(one.number > number for one in self._answers)

    def left_behind(self, number: int) -> bool:
        """Whether all that is looked back at was sent after this one: it is from another time."""
        return len(self._answers) == _REMEMBERED and all(one.number > number for one in self._answers)
