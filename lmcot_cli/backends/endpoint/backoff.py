"""How long to wait before a call is tried again."""

from __future__ import annotations

from random import Random

MOST_TRIES = 12
"""With a quarter of all tries failing by chance, one call in twenty million has its error for a reply. Tries that a
busy endpoint refused are not among them."""

FIRST_SECONDS = 0.5
MOST_SECONDS = 30.0

STEPS_WHILE_ANSWERED = 4
"""Failures after which the wait, of 4 s then, stops growing while others are answered: there is room now and then."""


def backoff(failures: int, retry_after: float | None, random: Random) -> float:
    """Return the seconds to wait after so many failures of one call, at least what the endpoint asks for.

    Full jitter: anything up to a bound that doubles, so that calls that failed together do not come back together
    ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    bound = min(FIRST_SECONDS * 2.0 ** (failures - 1), MOST_SECONDS)
    return random.uniform(0.0, bound) + (retry_after or 0.0)
