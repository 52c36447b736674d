"""A mask that lets a model think before the reply that it constrains."""

from __future__ import annotations

from typing import Protocol

from lmcot_cli.backends.masks.base import Mask, TokenIds
from lmcot_cli.backends.masks.lexicon import Pieces
from lmcot_cli.backends.thinking import Part


class MarkedPieces(Pieces, Protocol):
    """A vocabulary that also tells the marks around a thought."""

    def mark(self, token: int) -> str:
        """Return the text of a control token that begins or ends a thought; empty for any other token."""
        ...


class Thinking(Protocol):
    """A text that grows, as far as it is known where in it a thought ends."""

    @property
    def part(self) -> Part:
        """Where the text has come to."""
        ...

    def may_think(self, text: str) -> bool:
        """Tell whether the text, with this behind it, is a thought or the beginning of its opening mark."""
        ...


class AfterThought(Mask):
    """Allows anything as long as the model thinks, or may be about to; then what another mask allows.

    Args:
        mask: What constrains the reply.
        text: What was written; whoever adds to it asks this mask before.
        pieces: The vocabulary.
    """

    __slots__ = ("_mask", "_pieces", "_text")

    def __init__(self, mask: Mask, text: Thinking, pieces: MarkedPieces) -> None:
        self._mask, self._text, self._pieces = mask, text, pieces

    @property
    def text(self) -> str:
        """The reply; see `Mask.text`."""
        return self._mask.text

    def allows(self, token: int) -> bool:
        """Tell whether a token may come next; see `Mask.allows`."""
        return self._is_thought(token) or self._mask.allows(token)

    def allowed(self) -> TokenIds:
        """Return the tokens that may come next once a token that begins no thought was drawn."""
        return self._mask.allowed()

    def accept(self, token: int) -> bool:
        """Take the next token; see `Mask.accept`."""
        return not self._is_thought(token) and self._mask.accept(token)

    def _is_thought(self, token: int) -> bool:
        if self._text.part is not Part.UNDECIDED:
            return self._text.part is Part.THOUGHT
        spelt = self._pieces.mark(token) or (self._pieces.piece(token) or b"").decode(errors="replace")
        return bool(spelt.strip()) and self._text.may_think(spelt)
