"""The circuit breaker: when every call fails, pause, then let one call at a time see whether that is over."""

from __future__ import annotations

import logging

FAILURES = 10
"""Failures in a row, over all calls, that open it: with a quarter of all calls failing, one chance in a million."""

SPACING = 0.05
"""Seconds between calls once that many have failed in a row: whether it is down shows without a storm."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0

_log = logging.getLogger(__name__)


class Breaker:
    """Closed while calls go through; open, it holds all calls back for a while, then lets one try.

    It opens when calls fail in a row and none has been answered for longer than answers take: an endpoint that
    refuses calls at once because it is at work on as many as it can is not down.

    Args:
        name: The endpoint, for the message.

    Attributes:
        down_since: When it opened, by the caller's clock; None while it is closed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = 0
        self._silent_since: float | None = None
        self._pause = FIRST_PAUSE
        self._until = 0.0
        self._trying = False
        self._paused_before = 0.0
        self._last_sent = float("-inf")
        self.down_since: float | None = None

    def wait(self, now: float) -> float:
        """Return the seconds until a call may be sent; infinite while another one tries."""
        if self.down_since is None:
            return max(0.0, self._last_sent + SPACING - now) if self._failures >= FAILURES else 0.0
        return float("inf") if self._trying else max(0.0, self._until - now)

    def sent(self, now: float) -> bool:
        """Note that a call is sent; return whether it is one that tries."""
        self._last_sent = now
        self._trying = self.down_since is not None
        return self._trying

    def trial_over(self) -> None:
        """Note that the call that tries has ended, perhaps because nobody wants it any more."""
        self._trying = False

    def paused(self, now: float) -> float:
        """Return the seconds it has been open, all times together."""
        return self._paused_before + (0.0 if self.down_since is None else now - self.down_since)

    def answered(self, now: float) -> None:
        """Note that the endpoint answered."""
        self._failures, self._silent_since = 0, now
        if self.down_since is None:
            return
        _log.warning("%s answers again, after %.0f s", self._name, now - self.down_since)
        self._paused_before += now - self.down_since
        self._pause, self._trying, self.down_since = FIRST_PAUSE, False, None

    def failed(
        self, reason: str, retry_after: float | None, *, tried: bool, patience: float, now: float
    ) -> None:
        """Note that a call failed for a reason that is not its own.

        Args:
            reason: Why, for the message.
            retry_after: Seconds the endpoint asks to wait.
            tried: What `sent` said of the call.
            patience: Seconds after which an answer of an endpoint that is well should have come.
            now: The caller's clock.
        """
        self._failures += 1
        self._silent_since = now if self._silent_since is None else self._silent_since
        if self.down_since is None:
            if self._failures < FAILURES or now - self._silent_since < patience:
                return
            self.down_since, self._until = now, now + self._pause
            _log.warning("%s fails every call (%s); pausing, with a try now and then", self._name, reason)
        elif tried:
            self._trying = False
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._until = now + self._pause
        self._until = max(self._until, now + (retry_after or 0.0))
