"""The contract between a sampler and whatever decides which tokens may come next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

TokenSet: TypeAlias = npt.NDArray[np.intp]
"""Ids of tokens, ascending, [tokens]."""

BLANKS = b" \t\n"
MOST_BLANKS = 2
"""Maximum white space before a constrained reply: models like to begin with some. A model that may not say what it
wants prefers white space to anything it may say, as long as it can have more."""


def blanks_before(piece: bytes) -> int:
    """Return the number of white space bytes that a token begins with."""
    return len(piece) - len(piece.lstrip(BLANKS))


class Mask(ABC):
    """Follows one reply under its constraint, token by token.

    A sampler first draws as if there were no mask, and draws again from the allowed tokens only where the mask does not
    allow the first: for most replies it is enough to ask about one token at a time.
    """

    __slots__ = ()

    @abstractmethod
    def allows(self, token: int) -> bool:
        """Return whether a token may come next; one that ends the text may where the constraint is met."""

    @abstractmethod
    def allowed(self) -> TokenSet:
        """Return the tokens that may come next; none where the vocabulary cannot spell what must follow."""

    @abstractmethod
    def accept(self, token: int) -> bool:
        """Take the next token, and return whether the reply has ended with or before it.

        A token that is not allowed ends the reply and does not belong to it.
        """

    @property
    @abstractmethod
    def text(self) -> str:
        """The reply as far as it meets the constraint, without white space or anything else around it."""
