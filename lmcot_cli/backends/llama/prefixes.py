"""Find what prompts have in common, so that it is decoded once.

The prompts of one call form a tree. Each `Prefix` is an inner node: tokens that several prompts go on with,
after those of its parent. Each `Leaf` is one prompt: the tokens that are its own, after those of its parent.
Equal prompts (samples of one question) are leaves without own tokens below a prefix that holds the whole
prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Tokens: TypeAlias = npt.NDArray[np.int32]

MAX_DEPTH = 4
"""Prefixes above one another: instructions, examples, question, rationale."""

WORTH_A_STEP = 16
"""Tokens to save before sharing pays: a prefix takes a step of its own before its leaves can start."""


@dataclass(eq=False, slots=True)
class Prefix:
    """Tokens that several prompts share.

    Attributes:
        parent: What comes before them; None at the beginning of the text.
        start: Position of the first of them.
        tokens: Their ids, [count].
        leaves: How many prompts go through here.
        ends_prompt: Whether some prompt ends here, so that its first token is sampled from these logits.
    """

    parent: Prefix | None
    start: int
    tokens: Tokens
    leaves: int
    ends_prompt: bool

    @property
    def end(self) -> int:
        """Position after the last token."""
        return self.start + len(self.tokens)

    @property
    def depth(self) -> int:
        """How many prefixes lie on the way here, this one counted."""
        return 1 + (self.parent.depth if self.parent else 0)


@dataclass(eq=False, slots=True)
class Leaf:
    """One prompt, number `index` of the list: `tokens` (possibly none) after those of `parent`."""

    index: int
    parent: Prefix | None
    start: int
    tokens: Tokens


@dataclass(eq=False, slots=True)
class _Family:
    """Prompts (by index) that share their first `shared` tokens; those up to `parent` are in the tree."""

    members: list[int]
    shared: int
    parent: Prefix | None


def share_prefixes(prompts: Sequence[Tokens]) -> list[Leaf]:
    """Build the tree and return its leaves: those of a prefix together, in order of first appearance."""
    leaves: list[Leaf] = []
    pending = [_Family(list(range(len(prompts))), 0, None)]
    while pending:
        family = pending.pop()
        if len(family.members) == 1 or (family.parent and family.parent.depth == MAX_DEPTH):
            leaves.extend(_leaf(prompts, index, family.parent) for index in family.members)
        else:
            # Depth first and in order: the stack gives back last what went in first.
            pending.extend(reversed([_narrow(prompts, child) for child in _split(prompts, family)]))
    return leaves


def _split(prompts: Sequence[Tokens], family: _Family) -> Iterator[_Family]:
    """Part the members by their next token; those that end here are done, and each goes its own way."""
    by_next: dict[int, list[int]] = {}
    for index in family.members:
        prompt = prompts[index]
        # -1 - index is no token id: an ended prompt is alone under its key.
        key = int(prompt[family.shared]) if len(prompt) > family.shared else -1 - index
        by_next.setdefault(key, []).append(index)
    for members in by_next.values():
        yield _Family(members, family.shared, family.parent)


def _narrow(prompts: Sequence[Tokens], family: _Family) -> _Family:
    """Find all that the members share, and make it a prefix where that saves enough."""
    first, *others = (prompts[index] for index in family.members)
    shared = min((_common_length(first, other) for other in others), default=len(first))
    start = family.parent.end if family.parent else 0
    if (shared - start) * len(others) < WORTH_A_STEP:
        return _Family(family.members, shared, family.parent)
    ends_prompt = any(len(prompts[index]) == shared for index in family.members)
    prefix = Prefix(family.parent, start, first[start:shared], len(family.members), ends_prompt)
    return _Family(family.members, shared, prefix)


def _common_length(one: Tokens, other: Tokens) -> int:
    length = min(len(one), len(other))
    differing = np.flatnonzero(one[:length] != other[:length])
    return int(differing[0]) if len(differing) else length


def _leaf(prompts: Sequence[Tokens], index: int, parent: Prefix | None) -> Leaf:
    start = parent.end if parent else 0
    return Leaf(index, parent, start, prompts[index][start:])
