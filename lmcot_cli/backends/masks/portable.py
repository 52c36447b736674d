"""Masks that need only a vocabulary, so that they work with every local backend."""

from __future__ import annotations

from collections.abc import Sequence

from lmcot_cli.backends.constraint import Choices, Constraint, Number, Span
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.masks.numbers import NumberMask
from lmcot_cli.backends.masks.passages import CopyMask, passages_of

PORTABLE: frozenset[type[Constraint]] = frozenset({Choices, Span, Number})
"""The constraints that these masks enforce."""


def portable_mask(constraint: Constraint | None, lexicon: Lexicon, stop: Sequence[str]) -> Mask | None:
    """Return a mask for one reply; None where nothing constrains it."""
    match constraint:
        case None:
            return None
        case Number():
            return NumberMask(lexicon)
    return CopyMask(passages_of(constraint), lexicon, stop)
