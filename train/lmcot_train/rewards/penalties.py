"""What is taken off a reward whatever the text says: going round in circles, and not coming to an end."""

from __future__ import annotations

from collections.abc import Sequence

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
            if run >= span * (ROUNDS - 1):
                repeated.update(range(at - run + 1, at + 1))
    return len(repeated) / len(words) if words else 0.0
