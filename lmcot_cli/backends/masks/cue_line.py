"""Keeps the beginning of a reply on the line of its cue.

Where examples precede a prompt as plain text, the reply follows its cue on the same line (`Answer: Lyon`). A base model
that leaves that line, or ends there, gives no reply: it writes another example (Gemma 3 270M, one HotpotQA row of 40).
"""

from __future__ import annotations

from lmcot_cli.backends.masks.base import Mask, TokenSet
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.reply_text import ReplyText


class CueLine(Mask):
    """Makes a reply begin with text, and allows everything after that."""

    __slots__ = ("_begun", "_lexicon", "_reply")

    def __init__(self, lexicon: Lexicon, reply: ReplyText) -> None:
        self._lexicon, self._reply, self._begun = lexicon, reply, False

    @property
    def text(self) -> str:
        """The reply."""
        return self._reply.text

    def allows(self, token: int) -> bool:
        """Return whether a token may come next: spaces and text, until there is text."""
        self._begun = self._begun or bool(self._reply.text.strip())
        if self._begun:
            return True
        piece = self._lexicon.piece(token)
        return piece is not None and piece != b"" and b"\n" not in piece[: len(piece) - len(piece.lstrip())]

    def allowed(self) -> TokenSet:
        """Return the tokens that put text on the line."""
        return self._lexicon.on_line

    def accept(self, token: int) -> bool:
        """Let the reply continue."""
        return False
