"""The tokens of a vocabulary by the bytes they stand for."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np

from lmcot_cli.backends.masks.base import MOST_BLANKS, TokenSet, blanks_before
from lmcot_cli.backends.vocabulary import Vocabulary

_KEY = 3
"""Bytes that pieces are grouped by, to know their maximum length. With one byte, each look-up in Gemma's 262,144 tokens
would try lengths up to 48."""

_SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")
"""The beginning of half a UTF-16 pair: Python's decoder refuses it only at its end."""

_NUMBER_STARTS = tuple(bytes([byte]) for byte in b"+-0123456789")


class Lexicon:
    """An index of a vocabulary, built at its first use (some seconds for Gemma's 262,144 tokens)."""

    def __init__(self, vocabulary: Vocabulary, size: int) -> None:
        self.piece = vocabulary.piece
        self._size = size
        self._marked: dict[tuple[bytes, ...], list[int]] = {}

    def beginning(self, data: bytes, start: int = 0) -> Iterator[int]:
        """Yield the tokens whose bytes come next in `data` from `start`."""
        longest = self._lengths.get(data[start : start + _KEY], _KEY - 1)
        for end in range(start + 1, min(start + longest, len(data)) + 1):
            yield from self._ids.get(data[start:end], ())

    @cached_property
    def longest(self) -> int:
        """Length of the longest token in bytes."""
        return max(self._lengths.values(), default=0)

    @cached_property
    def ends(self) -> list[int]:
        """The tokens that end a text."""
        return [token for token in range(self._size) if self.piece(token) is None]

    @cached_property
    def blanks(self) -> list[int]:
        """The tokens that consist of a little white space."""
        return self._where(lambda piece: blanks_before(piece) == len(piece) <= MOST_BLANKS)

    @cached_property
    def leads(self) -> set[bytes]:
        """The white space, including none, that tokens have before other text."""
        counted = ((piece, blanks_before(piece)) for piece in self._ids)
        return {piece[:blanks] for piece, blanks in counted if blanks < len(piece) and blanks <= MOST_BLANKS}

    @cached_property
    def on_line(self) -> TokenSet:
        """The tokens that have text, without a line end before it."""

        def has_text_on_line(piece: bytes) -> bool:
            text = piece.lstrip()
            return text != b"" and b"\n" not in piece[: len(piece) - len(text)]

        return as_ids(self._where(has_text_on_line))

    def with_few_blanks(self, tokens: list[int], most: int) -> TokenSet:
        """Return the tokens that begin with at most so many bytes of white space."""
        return as_ids([token for token in tokens if blanks_before(self.piece(token) or b"") <= most])

    @cached_property
    def visible(self) -> TokenSet:
        """The tokens that stand for text, and those that end it."""
        return as_ids([*self.ends, *(token for ids in self._ids.values() for token in ids)])

    def search(self, among: Callable[[TokenSet], TokenSet]) -> TokenSet:
        """Return all tokens that pass a test, among those that end a text and those that UTF-8 text may begin with.

        Args:
            among: Returns the tokens that pass, of those given. A token passes only if its beginnings do, so it is not
                tested where they failed, as nearly all do where little may follow.
        """
        passed = np.zeros(self._size, np.bool_)
        for tokens, beginnings in self._by_beginning:
            passed[among(tokens[passed[beginnings] | (beginnings == tokens)])] = True
        return np.flatnonzero(passed)

    @cached_property
    def _by_beginning(self) -> list[tuple[TokenSet, TokenSet]]:
        """Tokens, each with the longest other one that it begins with (or itself), which an earlier array has."""
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
        return self._where(lambda piece: 0x80 <= piece[0] < 0xC0)

    @cached_property
    def signed_digits(self) -> list[int]:
        """The tokens that begin with a digit or a sign, after any white space."""
        return self._where(lambda piece: piece.lstrip().startswith(_NUMBER_STARTS))

    def starting_with(self, marks: tuple[bytes, ...]) -> list[int]:
        """Return the tokens that begin with one of `marks`."""
        if marks not in self._marked:
            self._marked[marks] = self._where(lambda piece: piece.startswith(marks))
        return self._marked[marks]

    def _where(self, fits: Callable[[bytes], bool]) -> list[int]:
        return [token for piece, tokens in self._ids.items() if fits(piece) for token in tokens]

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
    """Return the bytes of the character that a piece leaves unfinished; None where it is not UTF-8."""
    if not before and piece.isascii():
        return b""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(before + piece)
    except UnicodeDecodeError:
        return None
    left = decoder.getstate()[0]
    return None if _SURROGATE.fullmatch(left) else left


def as_ids(tokens: list[int]) -> TokenSet:
    """Return tokens as a sorted array without repetitions."""
    return np.unique(np.array(tokens, np.intp))
