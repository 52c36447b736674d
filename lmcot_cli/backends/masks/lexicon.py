"""The tokens of a vocabulary by the bytes they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Protocol

import numpy as np

from lmcot_cli.backends.masks.base import TokenIds

_KEY = 3
"""Bytes that pieces are grouped by to know how long they get. With one byte, each look-up in Gemma's 262,144
tokens would try lengths up to 48."""

_SIGNS = b"+-"
_DIGITS = b"0123456789"


class Pieces(Protocol):
    """A vocabulary, as far as masks need it."""

    def piece(self, token: int) -> bytes | None:
        """Return the bytes a token stands for: none for a control token; None if it ends the text."""
        ...


class Lexicon:
    """An index of a vocabulary, made at the first look into it (a second for Gemma's).

    Args:
        pieces: The vocabulary.
        size: Tokens in it.
    """

    def __init__(self, pieces: Pieces, size: int) -> None:
        self._pieces = pieces
        self._size = size

    def piece(self, token: int) -> bytes | None:
        """Return the bytes a token stands for: none for a control token; None if it ends the text."""
        return self._pieces.piece(token)

    def beginning(self, data: bytes, start: int = 0) -> Iterator[int]:
        """Yield the tokens whose bytes come next in `data` from `start` on."""
        longest = self._lengths.get(data[start : start + _KEY], _KEY - 1)
        for end in range(start + 1, min(start + longest, len(data)) + 1):
            yield from self._ids.get(data[start:end], ())

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return max(self._lengths.values(), default=0)

    @cached_property
    def ends(self) -> list[int]:
        """The tokens that end a text."""
        return [token for token in range(self._size) if self.piece(token) is None]

    @cached_property
    def blanks(self) -> list[int]:
        """The tokens that are nothing but white space."""
        return [token for piece, ids in self._ids.items() if piece.isspace() for token in ids]

    @cached_property
    def visible(self) -> TokenIds:
        """The tokens that stand for text, and those that end it."""
        return as_ids([*self.ends, *(token for ids in self._ids.values() for token in ids)])

    @cached_property
    def signed_digits(self) -> list[int]:
        """The tokens that begin with a digit or a sign, white space aside."""
        return [
            token
            for piece, ids in self._ids.items()
            if piece.lstrip()[:1] and piece.lstrip()[:1] in _DIGITS + _SIGNS
            for token in ids
        ]

    def starting_with(self, marks: tuple[bytes, ...]) -> list[int]:
        """Return the tokens that begin with one of `marks`; remembered."""
        if marks not in self._marked:
            self._marked[marks] = [
                token for piece, ids in self._ids.items() if piece.startswith(marks) for token in ids
            ]
        return self._marked[marks]

    @cached_property
    def _marked(self) -> dict[tuple[bytes, ...], list[int]]:
        return {}

    @cached_property
    def _ids(self) -> dict[bytes, list[int]]:
        ids: dict[bytes, list[int]] = {}
        for token in range(self._size):
            if piece := self.piece(token):
                ids.setdefault(piece, []).append(token)
        return ids

    @cached_property
    def _lengths(self) -> dict[bytes, int]:
        lengths: dict[bytes, int] = {}
        for piece in self._ids:
            key = piece[:_KEY]
            lengths[key] = max(lengths.get(key, 0), len(piece))
        return lengths


def as_ids(tokens: list[int]) -> TokenIds:
    """Return tokens as a sorted array without repetitions."""
    return np.unique(np.array(tokens, np.intp))
