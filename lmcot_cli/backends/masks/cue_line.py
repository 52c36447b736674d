"""Keeps the beginning of a reply on the line of its cue.

Examples that stand before a prompt as text are replied to behind their cue (`Answer: Lyon`). A base model that leaves
that line, or ends there, replies nothing: it goes on to another example (Gemma 3 270M, one HotpotQA row of 40).
"""

from __future__ import annotations

from typing import Protocol

from lmcot_cli.backends.masks.base import Mask, TokenIds
from lmcot_cli.backends.masks.lexicon import Lexicon


class Growing(Protocol):
    """A reply that grows."""

    @property
    def text(self) -> str:
        """Return what was written."""
        ...


class CueLine(Mask):
    """Allows a reply to begin with text alone, and then everything; what the reply is, it leaves to others.

    Args:
        lexicon: The vocabulary.
        reply: What was written.
    """

    __slots__ = ("_begun", "_lexicon", "_reply")

    def __init__(self, lexicon: Lexicon, reply: Growing) -> None:
        self._lexicon, self._reply, self._begun = lexicon, reply, False

    @property
    def text(self) -> str:
        """The reply."""
        return self._reply.text

    def allows(self, token: int) -> bool:
        """Tell whether a token may come next: spaces and text, until there is text."""
        self._begun = self._begun or bool(self._reply.text.strip())
        if self._begun:
            return True
        piece = self._lexicon.piece(token)
        return piece is not None and b"\n" not in piece[: len(piece) - len(piece.lstrip())] and piece != b""

    def allowed(self) -> TokenIds:
        """Return the tokens that put text on the line."""
        return self._lexicon.on_line

    def accept(self, token: int) -> bool:
        """End nothing."""
        return False
