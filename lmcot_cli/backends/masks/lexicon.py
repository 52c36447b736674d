"""The tokens of a vocabulary by the bytes they stand for."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Protocol

import numpy as np

from lmcot_cli.backends.masks.base import MOST_BLANKS, TokenIds, blanks_before

_KEY = 3
"""Bytes that pieces are grouped by to know how long they get. With one byte, each look-up in Gemma's 262,144
tokens would try lengths up to 48."""

_SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")
"""How half of a UTF-16 pair would begin: Python's decoder waits for its end before it refuses it."""

_SIGNS = b"+-"
_DIGITS = b"0123456789"


class Pieces(Protocol):
    """A vocabulary, as far as masks need it."""

    def piece(self, token: int) -> bytes | None:
        """Return the bytes a token stands for: none for a control token; None if it ends the text."""
        ...


class Lexicon:
    """An index of a vocabulary, made at the first look into it (some seconds for Gemma's 262,144 tokens).

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
        """The tokens that are nothing but a little white space."""
        few = (piece for piece in self._ids if blanks_before(piece) == len(piece) <= MOST_BLANKS)
        return [token for piece in few for token in self._ids[piece]]

    @cached_property
    def leads(self) -> set[bytes]:
        """The white space, none included, that tokens hold before other text."""
        counted = ((piece, blanks_before(piece)) for piece in self._ids)
        return {piece[:blanks] for piece, blanks in counted if blanks < len(piece) and blanks <= MOST_BLANKS}

    @cached_property
    def on_line(self) -> TokenIds:
        """The tokens that hold text, with no line end before it."""
        leads = ((piece, piece[: len(piece) - len(piece.lstrip())]) for piece in self._ids)
        return as_ids(
            [id for piece, lead in leads if lead != piece and b"\n" not in lead for id in self._ids[piece]]
        )

    def with_few_blanks(self, tokens: list[int], most: int) -> TokenIds:
        """Return those of some tokens that begin with no more than so much white space."""
        return as_ids([token for token in tokens if blanks_before(self.piece(token) or b"") <= most])

    @cached_property
    def visible(self) -> TokenIds:
        """The tokens that stand for text, and those that end it."""
        return as_ids([*self.ends, *(token for ids in self._ids.values() for token in ids)])

    def search(self, among: Callable[[TokenIds], TokenIds]) -> TokenIds:
        """Return all tokens that a test lets through, of those that end a text and those UTF-8 may begin with.

        Args:
            among: Returns those of some tokens that pass. A token passes only if its beginnings do: it is not
                asked for where they have failed, as nearly all have where little may follow.
        """
        passed = np.zeros(self._size, np.bool_)
        for tokens, beginnings in self._by_beginning:
            passed[among(tokens[passed[beginnings] | (beginnings == tokens)])] = True
        return np.flatnonzero(passed)

    @cached_property
    def _by_beginning(self) -> list[tuple[TokenIds, TokenIds]]:
        """Tokens, each with the longest other one that it begins with (or itself), which an earlier pair holds."""
        depths: dict[bytes, int] = {}
        levels: list[list[tuple[int, int]]] = [[(token, token) for token in self.ends]]
        for piece in sorted(piece for piece in self._ids if unfinished(piece) is not None):
            shorter = (piece[:size] for size in range(len(piece) - 1, 0, -1))
            beginning = next((part for part in shorter if part in depths), b"")
            depth = depths[piece] = depths.get(beginning, -1) + 1
            if depth == len(levels):
                levels.append([])
            levels[depth] += [
                (token, self._ids[beginning][0] if beginning else token) for token in self._ids[piece]
            ]
        arrays = (np.array(level, np.intp).reshape(-1, 2) for level in levels)
        return [(array[:, 0], array[:, 1]) for array in arrays]

    @cached_property
    def inner(self) -> list[int]:
        """The tokens that begin within a character."""
        return [token for piece, ids in self._ids.items() if 0x80 <= piece[0] < 0xC0 for token in ids]

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


def unfinished(piece: bytes, before: bytes = b"") -> bytes | None:
    """Return the bytes of the character that a piece leaves unfinished, None where it is no UTF-8.

    Args:
        piece: The piece.
        before: What came before it and was left unfinished.
    """
    if not before and piece.isascii():
        return b""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(before + piece)
    except UnicodeDecodeError:
        return None
    left = decoder.getstate()[0]
    return None if _SURROGATE.fullmatch(left) else left


def as_ids(tokens: list[int]) -> TokenIds:
    """Return tokens as a sorted array without repetitions."""
    return np.unique(np.array(tokens, np.intp))
