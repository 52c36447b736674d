"""Calls answered by 403: is it the key that is refused, or what one prompt says?"""

from __future__ import annotations

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.endpoint.breaker import FAILURES
from lmcot_cli.backends.endpoint.calls import Call
from lmcot_cli.backends.endpoint.faults import Refusal


class Doubts:
    """Whether the key is known to be good, and the calls that wait for that to show.

    The key is good once a call was answered; then a 403 is about its own prompt. Before, or after many of them in a
    row, harmless words are asked for, and calls that were forbidden meanwhile wait for what comes of it.
    """

    def __init__(self) -> None:
        self._proven = False
        self._in_a_row = 0
        self._waiting: list[tuple[Call, Refusal]] = []

    def answered(self) -> list[tuple[Call, Refusal]]:
        """Note that the endpoint answered a call; return those that were forbidden for their own prompts, then."""
        self._proven, self._in_a_row = True, 0
        return self.settled()

    def settled(self) -> list[tuple[Call, Refusal]]:
        """Return the calls that wait, which wait no more."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def is_about_prompt(self) -> bool:
        """Whether a 403 that has just come is about the prompt of its call."""
        self._in_a_row += 1
        if self._in_a_row >= FAILURES:
            self._proven = False
        return self._proven

    def wait(self, call: Call, refusal: Refusal) -> bool:
        """Have a call wait; return whether it is the first, so that the key has to be tried."""
        self._waiting.append((call, refusal))
        return len(self._waiting) == 1


TRIAL = Request("Say yes.", seed=0)
"""What no filter has anything against."""
TRIAL_SAMPLING = Sampling(max_tokens=16, thinking="auto")
"""Enough for models that refuse to stop at once, and next to nothing."""
