"""Estimate in how many ways a text can match a pattern: llama.cpp follows all of them at once, token by token.

Measured with SmolLM2: `(a{0,10}){0,10}` takes a second per reply, `((a?){9}){9}` half a minute, and `(a{0,30}){0,30}`
or a hundred `(a|b)?` in a row never end. The estimate assumes that a group with a required part matches in one way.
"""

from __future__ import annotations

import re

MOST_NESTED = 100
MOST_OPTIONAL = 20

_TOKEN = re.compile(
    r"(?P<open>\((?:\?(?:[:=!]|<[=!]|P?<\w+>))?)|(?P<close>\))|(?P<repeat>[*+?]|\{(?P<least>\d*),?(?P<most>\d*)\})"
    r"|(?P<bar>\|)|(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.)",
    re.DOTALL,
)


class _Group:
    """A group of the pattern, as far as it was read.

    Attributes:
        ways: The ways of its part with the most.
        last: The ways of its latest part; None once that part has ended.
        is_anchored: Whether it has a required part that matches in one way.
    """

    def __init__(self) -> None:
        self.ways = 1
        self.last: int | None = None
        self.is_anchored = False

    def end_part(self) -> None:
        """End a part that is not repeated."""
        self.is_anchored |= self.last == 1
        self.last = None

    def repeat(self, times: int) -> int:
        """Repeat the latest part; return its ways if it repeats something itself, else 1."""
        inner = self.last or 1
        self.ways, self.last = max(self.ways, inner * times), None
        return inner * times if inner > 1 and times > 1 else 1


def has_too_many_ways(pattern: str) -> bool:
    """Return whether a pattern nests so many repetitions, or has so many optional parts, that it takes too long."""
    groups, optional, nested = [_Group()], 0, 1
    for found in _TOKEN.finditer(pattern):
        group = groups[-1]
        if found["repeat"]:
            optional += found["repeat"] == "?"
            nested = max(nested, group.repeat(_times(found)))
            continue
        group.end_part()
        if found["close"] and len(groups) > 1:
            groups.pop()
            groups[-1].last = 1 if group.is_anchored else group.ways
        elif found["open"]:
            groups.append(_Group())
        elif found["atom"]:
            group.last = 1
    return optional > MOST_OPTIONAL or nested > MOST_NESTED


def _times(found: re.Match[str]) -> int:
    """Return how many numbers of repetitions a quantifier allows; an unbounded one counts as 1."""
    if found["repeat"] in ("*", "+"):
        return 1
    if found["repeat"] == "?":
        return 2
    return int(found["most"] or found["least"] or 1)
