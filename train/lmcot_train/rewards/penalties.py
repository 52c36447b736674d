"""Penalties of a reward: for loops, and for answers without support."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from lmcot_train.rewards.chain import Chain
from lmcot_train.rewards.routes import connections

LONGEST_LOOP = 12
"""Words of the longest span that counts."""
ROUNDS = 3
"""A span that occurs this many times in a row is a loop."""


def loop_share(words: Sequence[str]) -> float:
    """Return the share of words that repeat what has just been said.

    A span of 1 to `LONGEST_LOOP` words that occurs `ROUNDS` or more times in a row counts from its second time on: "2 2
    2" is a loop, "1990 1991 1992" is not.
    """
    repeated: set[int] = set()
    for span in range(1, LONGEST_LOOP + 1):
        run = 0
        for at in range(span, len(words)):
            run = run + 1 if words[at] == words[at - span] else 0
            if run == span * (ROUNDS - 1):
                repeated.update(range(at - run + 1, at + 1))
            elif run > span * (ROUNDS - 1):  # the words before count already
                repeated.add(at)
    return len(repeated) / len(words) if words else 0.0


def unsupported(chain: Chain) -> float:
    """Return how far an answer lacks support: 1 minus the value of the best supported route from question to answer.

    In a comparison all things that the question names count equally. Without an answer, or a context that could support
    one, the result is 0.

    A large LM may be right from what it knows, or from the context, whatever the rationale says; without this penalty a
    policy may learn to write rationales that say nothing.
    """
    if chain.answer is None or not chain.source.units:
        return 0.0
    found = connections(chain)
    if chain.compares and found:
        return 1.0 - fmean(found)
    return 1.0 - max(found, default=0.0)
