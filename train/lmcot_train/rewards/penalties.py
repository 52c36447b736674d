"""What is taken off a reward: going round in circles, coming to no end (not judged here), an answer without support."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from lmcot_train.rewards.chain import Chain
from lmcot_train.rewards.routes import connections

LONGEST_LOOP = 12
"""Words of the longest span that is looked for."""
ROUNDS = 3
"""A span that stands this many times in a row is a loop."""


def loop_share(words: Sequence[str]) -> float:
    """Return the share of words that repeat what has just been said.

    A span of 1 to `LONGEST_LOOP` words that stands `ROUNDS` or more times in a row counts from its second time on.
    A number is no loop by itself: "2 2 2" is, "1990 1991 1992" is not.
    """
    repeated: set[int] = set()
    for span in range(1, LONGEST_LOOP + 1):
        run = 0
        for at in range(span, len(words)):
            run = run + 1 if words[at] == words[at - span] else 0
            if run == span * (ROUNDS - 1):
                repeated.update(range(at - run + 1, at + 1))
            elif run > span * (ROUNDS - 1):  # what is before it counts already
                repeated.add(at)
    return len(repeated) / len(words) if words else 0.0


def unsupported(chain: Chain) -> float:
    """Return how far an answer lacks support: 1 less what the best borne-out route from question to answer is worth.

    In a comparison all things that the question names count alike.

    A large LM may be right by what it knows, or by what the context says, from a rationale that says nothing; a policy
    that learns to write such rationales has learned to do without them.

    Returns:
        0 where there is no answer, or no context that could support one.
    """
    if chain.answer is None or not chain.source.units:
        return 0.0
    found = connections(chain)
    if chain.compares and found:
        return 1.0 - fmean(found)
    return 1.0 - max(found, default=0.0)
