"""What a run may spend: tokens, time, money."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.errors import RowError, UsageError
from lmcot_cli.pipeline.cost import Price
from lmcot_cli.pipeline.result import CutShort, TokenCounts

_CHARACTERS_A_TOKEN = 4
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh])")


@dataclass(slots=True)
class Budget:
    """Counts what is spent, and estimates what the requests in flight will use.

    Rows in flight when a limit is reached are finished, so a run can exceed it by what they still need.

    Attributes:
        max_tokens: Limit of prompt and completion tokens of both models together; None sets no limit.
        seconds: Limit of the time from `started`; None sets no limit.
        max_cost: Limit of the tokens' cost; None sets no limit.
        rows: Rows of the input, so that each gets its share; None if unknown.
        tokens: The tokens spent.
        cost: Their cost.
        begun: Rows that have begun.
        clock: Returns the time in seconds.
        started: When the run began.
    """

    max_tokens: int | None = None
    seconds: float | None = None
    max_cost: float | None = None
    rows: int | None = None
    tokens: int = 0
    cost: float = 0.0
    begun: int = 0
    clock: Callable[[], float] = time.monotonic
    started: float = 0.0
    _reserved: deque[float] = field(default_factory=deque)
    _written: int = 0
    _replies: int = 0

    def __post_init__(self) -> None:
        self.started = self.clock()

    def reserve(self, request: Request, sampling: Sampling) -> None:
        """Set aside what a request will use, so that those in flight do not exceed the budget by much."""
        written = (
            self._written / self._replies if self._replies else sampling.room(sampling.thinking != "off") / 4
        )
        self._reserved.append(len(request.text) / _CHARACTERS_A_TOKEN + written)

    def spend(self, done: Completion | RowError, price: Price) -> None:
        """Count a reply; a completion that was cached by an earlier run costs nothing.

        Each call for it that was not answered counts as much again, because an endpoint may bill it.
        """
        self._reserved.popleft()
        if isinstance(done, RowError):
            return
        self._written, self._replies = self._written + done.completion_tokens, self._replies + 1
        self.tokens += (1 + done.lost_calls) * (done.prompt_tokens + done.completion_tokens)
        self.cost += (1 + done.lost_calls) * price.of(TokenCounts.of(done))

    def spent(self) -> CutShort | None:
        """Return the limit that is reached; None while there is something left."""
        return next((limit for limit, share in self._shares().items() if share >= 1), None)

    def is_tight(self, share: float = 1.0) -> bool:
        """Whether the requests in flight may use all that is left of a share; others wait for their replies."""
        return self.max_tokens is not None and self.tokens + sum(self._reserved) >= self.max_tokens * share

    def refused(self) -> CutShort | None:
        """Return the limit that keeps a row from samples that it does not need; None if there is enough for them.

        Rows that have not begun keep their share: the first half of the rows spends half of the budget at most, and
        what they do not spend is left for later ones.
        """
        return next((limit for limit, share in self._shares().items() if share >= self.share_of_begun), None)

    @property
    def share_of_begun(self) -> float:
        """The share of the rows that has begun; 1 if their number is unknown."""
        return self.begun / max(self.rows, self.begun) if self.rows else 1.0

    def _shares(self) -> dict[CutShort, float]:
        shares: dict[CutShort, float] = {}
        if self.max_tokens is not None:
            shares["max_tokens_total"] = self.tokens / self.max_tokens
        if self.seconds is not None:
            shares["deadline"] = (self.clock() - self.started) / self.seconds
        if self.max_cost is not None:
            shares["max_cost"] = self.cost / self.max_cost
        return shares


def parse_duration(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `1h30m` or `2.5h`.

    Raises:
        UsageError: The text is no such time.
    """
    parts = _DURATION.findall(text)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise UsageError(f"--deadline {text}: write a time as 90s, 10m or 1h30m")
    return seconds
