"""The contract between a sampler and whatever decides which tokens may come next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

TokenIds: TypeAlias = npt.NDArray[np.intp]

BLANKS = b" \t\n"
MOST_BLANKS = 2
"""White space that may come before a constrained reply: models like to begin with some. A model that may not say
what it wants prefers it to all that it may say, as long as it can have more."""


def blanks_before(piece: bytes) -> int:
    """Return the number of bytes of white space that a token begins with."""
    return len(piece) - len(piece.lstrip(BLANKS))


class Mask(ABC):
    """Follows one reply under its constraint, token by token.

    A sampler first draws as if there were no mask. Only a token that the mask does not allow is drawn again, from
    the allowed ones: for most tokens it is enough to ask for one.
    """

    __slots__ = ()

    @abstractmethod
    def allows(self, token: int) -> bool:
        """Tell whether a token may come next; one that ends the text may where the constraint is met."""

    @abstractmethod
    def allowed(self) -> TokenIds:
        """Return the tokens that may come next, in ascending order.

        There may be none, where the vocabulary cannot spell what must follow.
        """

    @abstractmethod
    def accept(self, token: int) -> bool:
        """Take the next token; True if the reply has ended with or before it.

        A token that is not allowed ends the reply, and is no part of it.
        """

    @property
    @abstractmethod
    def text(self) -> str:
        """The reply as far as it meets the constraint, without white space or whatever else was around it."""
