"""A mask that lets a model think before the reply that it constrains."""

from __future__ import annotations

from lmcot_cli.backends.masks.base import Mask, TokenSet
from lmcot_cli.backends.thinking import Part, Splitter
from lmcot_cli.backends.vocabulary import Vocabulary


class AfterThought(Mask):
    """Allows anything while the model thinks, or may be about to; then what another mask allows."""

    __slots__ = ("_mask", "_splitter", "_vocabulary")

    def __init__(self, mask: Mask, splitter: Splitter, vocabulary: Vocabulary) -> None:
        self._mask, self._splitter, self._vocabulary = mask, splitter, vocabulary

    @property
    def text(self) -> str:
        """The reply; see `Mask.text`."""
        return self._mask.text

    def allows(self, token: int) -> bool:
        """Return whether a token may come next; see `Mask.allows`."""
        return self._is_thought(token) or self._mask.allows(token)

    def allowed(self) -> TokenSet:
        """Return the tokens that may come next once a token that begins no thought was drawn."""
        return self._mask.allowed()

    def accept(self, token: int) -> bool:
        """Take the next token; see `Mask.accept`."""
        return not self._is_thought(token) and self._mask.accept(token)

    def _is_thought(self, token: int) -> bool:
        if self._splitter.part is not Part.UNDECIDED:
            return self._splitter.part is Part.THOUGHT
        mark, piece = self._vocabulary.mark(token), self._vocabulary.piece(token) or b""
        text = mark or piece.decode(errors="replace")
        return bool(text.strip()) and self._splitter.may_think(text)
