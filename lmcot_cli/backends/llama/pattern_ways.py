"""How many ways a pattern leaves a text to fit it: llama.cpp follows all of them at once, token by token.

Measured with SmolLM2: `(a{0,10}){0,10}` takes a second for a reply, `((a?){9}){9}` half a minute, `(a{0,30}){0,30}`
never ends, and neither do a hundred `(a|b)?` in a row. This is an estimate: it takes a group with a part that must be
there for one that fits in one way.
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
    """What is known of a group that is being read.

    Attributes:
        ways: The ways of the part of it that has most.
        last: The ways of its latest part; None where that is done with.
        is_anchored: Whether a part of it must be there and fits in one way.
    """

    def __init__(self) -> None:
        self.ways = 1
        self.last: int | None = None
        self.is_anchored = False

    def end_part(self) -> None:
        """Be done with a part that is not repeated."""
        self.is_anchored |= self.last == 1
        self.last = None

    def repeat(self, times: int) -> int:
        """Repeat the latest part; return its ways where it is one that repeats already."""
        inner = self.last or 1
        self.ways, self.last = max(self.ways, inner * times), None
        return inner * times if inner > 1 and times > 1 else 1


def has_too_many_ways(pattern: str) -> bool:
    """Whether a pattern repeats what repeats so often, or leaves out so much, that following it takes too long."""
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
    """Return how many numbers of repetitions a quantifier leaves open, without end for one."""
    if found["repeat"] in ("*", "+"):
        return 1
    if found["repeat"] == "?":
        return 2
    return int(found["most"] or found["least"] or 1)
