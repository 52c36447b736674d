"""Replies that are numbers."""

from __future__ import annotations

import re

from lmcot_cli.backends.masks.base import BLANKS, MOST_BLANKS, Mask, TokenSet
from lmcot_cli.backends.masks.lexicon import Lexicon, as_ids

NUMBER = re.compile(r"\s*([-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?)")
"""A number at the beginning of a reply."""

_GOES_ON = re.compile(r"\.|,[0-9]{0,3}|")
"""What follows a number that may still continue."""

_UNFINISHED = re.compile(rb"\s*[-+]?")
_BEGUN = re.compile(b"[%b]{0,%d}[-+]?([0-9]|\\Z)" % (BLANKS, MOST_BLANKS))


def number_in(text: str) -> str:
    """Return the number that a reply begins with; empty if there is none."""
    number = NUMBER.match(text)
    return number[1] if number else ""


def has_left(text: str) -> bool:
    """Return whether something follows the number of a reply, which ends the reply ("42 years")."""
    number = NUMBER.match(text)
    return bool(number and not _GOES_ON.fullmatch(text[number.end() :]))


class NumberMask(Mask):
    """Follows a reply that begins with a number; whatever cannot belong to the number ends the reply."""

    __slots__ = ("_lexicon", "_written")

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._written = b""

    @property
    def text(self) -> str:
        """The number; empty if none has begun."""
        return number_in(self._written.decode("utf-8", errors="replace"))

    def allows(self, token: int) -> bool:
        """Return whether a token leads to a number, or comes after its first digit."""
        piece = self._lexicon.piece(token)
        if not _UNFINISHED.fullmatch(self._written):
            return piece is None or bool(piece)
        if not piece:
            return False
        return _BEGUN.match(self._written + piece) is not None

    def allowed(self) -> TokenSet:
        """Return the tokens that may come next."""
        if not _UNFINISHED.fullmatch(self._written):
            return self._lexicon.visible
        candidates = [*self._lexicon.signed_digits, *self._lexicon.blanks]
        return as_ids([token for token in candidates if self.allows(token)])

    def accept(self, token: int) -> bool:
        """Take the next token; see `Mask.accept`."""
        if not self.allows(token):
            return True
        piece = self._lexicon.piece(token) or b""
        self._written += piece
        return not piece or has_left(self._written.decode("utf-8", errors="replace"))
