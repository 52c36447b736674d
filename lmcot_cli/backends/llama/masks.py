"""Masks of the llama.cpp engine: its own grammar sampler, and copied spans."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from tempfile import TemporaryFile
from typing import Any, TypeAlias

import numpy as np

from lmcot_cli.backends.constraint import Choices, Constraint, JsonSchema, Number, Span
from lmcot_cli.backends.llama.grammar import ROOT, grammar_of
from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.backends.llama.vocabulary import Vocabulary
from lmcot_cli.backends.masks.base import Mask, TokenIds
from lmcot_cli.backends.masks.lexicon import Lexicon, as_ids, unfinished
from lmcot_cli.backends.masks.numbers import has_left, number_in
from lmcot_cli.backends.masks.portable import portable_mask
from lmcot_cli.errors import UsageError

Found: TypeAlias = tuple[str, bool]
"""What a reply holds by now, and whether it has ended."""

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_REFUSED = -np.inf


class Masks:
    """Makes the masks of one model's replies.

    Args:
        vocabulary: The model's vocabulary.

    Attributes:
        lexicon: The same by the bytes of its tokens.
    """

    kinds: frozenset[type[Constraint]] = frozenset({Choices, Span, Number, JsonSchema})

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.lexicon = Lexicon(vocabulary, vocabulary.size)
        self._grammar = lru_cache(64)(self._parse)

    def mask(self, constraint: Constraint | None, stop: Sequence[str]) -> Mask | None:
        """Return a mask for one reply, None where nothing constrains it.

        Args:
            constraint: What the reply must be.
            stop: Strings that end it.

        Raises:
            UsageError: A schema that llama.cpp cannot follow.
        """
        match constraint:
            case None | Span():
                return portable_mask(constraint, self.lexicon, stop)
        return GrammarMask(self._grammar(constraint).clone(), self.lexicon, _reader(constraint))

    def _parse(self, constraint: Constraint) -> Grammar:
        return Grammar.parse(self._vocabulary, grammar_of(constraint))


class Grammar:
    """A state of llama.cpp's grammar sampler.

    Args:
        handle: llama.cpp's `llama_sampler *`; freed with this object.
        size: Tokens of the vocabulary.
    """

    def __init__(self, handle: Any, size: int) -> None:
        self._handle = handle
        self._size = size
        weakref.finalize(self, llama().llama_sampler_free, handle)

    @classmethod
    def parse(cls, vocabulary: Vocabulary, text: str) -> Grammar:
        """Parse a grammar.

        Raises:
            UsageError: llama.cpp does not take it.
        """
        forget_errors()
        with _stderr_caught() as said:
            handle = llama().llama_sampler_init_grammar(vocabulary.handle, text.encode(), ROOT.encode())
        if not handle:
            reason = (
                said[0].partition("\n")[0].removeprefix("parse: error parsing grammar: ") or first_error()
            )
            raise UsageError(
                f"--answer json:...: llama.cpp cannot follow the grammar made of the schema: {reason};"
                " ask for something simpler (plainer patterns, smaller bounds)"
            )
        return cls(handle, vocabulary.size)

    def clone(self) -> Grammar:
        """Return another state that stands where this one does."""
        return Grammar(llama().llama_sampler_clone(self._handle), self._size)

    def among(self, tokens: TokenIds) -> TokenIds:
        """Return those of `tokens` that may come next."""
        candidates = np.zeros(len(tokens), _CANDIDATE)
        candidates["id"] = tokens
        api = llama()
        data = candidates.ctypes.data_as(ctypes.POINTER(api.llama_token_data))
        array = api.llama_token_data_array(data, len(tokens), -1, False)
        api.llama_sampler_apply(self._handle, ctypes.byref(array))
        return tokens[candidates["logit"] > _REFUSED]

    def accept(self, token: int) -> None:
        """Go on by a token that may come next."""
        llama().llama_sampler_accept(self._handle, token)


class GrammarMask(Mask):
    """Follows a reply by a grammar.

    Args:
        grammar: Its state, not shared with another reply.
        lexicon: The vocabulary.
        read: Tells what the reply holds by now, and whether that is all.
    """

    __slots__ = ("_grammar", "_lexicon", "_read", "_unfinished", "_written")

    def __init__(self, grammar: Grammar, lexicon: Lexicon, read: Callable[[str], Found]) -> None:
        self._grammar = grammar
        self._lexicon = lexicon
        self._read = read
        self._written = b""
        self._unfinished = b""  # of a character

    @property
    def text(self) -> str:
        """What was asked for, as far as it was written."""
        return self._read(self._text)[0]

    def allows(self, token: int) -> bool:
        """Ask the grammar for one token. It takes control tokens for text, and anything for half a character."""
        piece = self._lexicon.piece(token)
        sound = piece is None or unfinished(piece, self._unfinished) is not None
        return piece != b"" and sound and len(self._grammar.among(np.array([token]))) == 1

    def allowed(self) -> TokenIds:
        """Ask the grammar for every token that is text."""
        if not self._unfinished:
            return self._lexicon.search(self._grammar.among)
        return as_ids([token for token in self._lexicon.inner if self.allows(token)])

    def accept(self, token: int) -> bool:
        """Take the next token; see `Mask.accept`."""
        piece = self._lexicon.piece(token)
        if not piece or not self.allows(token):
            return True
        self._grammar.accept(token)
        self._written += piece
        self._unfinished = unfinished(piece, self._unfinished) or b""
        return self._read(self._text)[1]

    @property
    def _text(self) -> str:
        return self._written.decode("utf-8", errors="replace")


@contextmanager
def _stderr_caught() -> Iterator[list[str]]:
    """Keep off the terminal what llama.cpp's parser prints there, past its own log; the list holds it afterwards."""
    said: list[str] = []
    sys.stderr.flush()
    terminal = os.dup(2)
    with TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 2)
            yield said
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            file.seek(0)
            said.append(file.read().decode("utf-8", errors="replace"))


def _reader(constraint: Constraint) -> Callable[[str], Found]:
    match constraint:
        case Choices(texts):
            choices = sorted({text.strip() for text in texts}, key=len, reverse=True)
            return lambda text: _read_choice(text.lstrip(), choices)
        case Number():
            return lambda text: (number_in(text), has_left(text))
    return _read_json


def _read_choice(text: str, choices: Sequence[str]) -> Found:
    """Find the longest choice that a reply begins with.

    Args:
        text: The reply.
        choices: The longest first.
    """
    found = next((choice for choice in choices if text.startswith(choice)), "")
    open_ended = any(choice.startswith(text) and choice != text for choice in choices)
    return found, bool(found) and not open_ended


def _read_json(text: str) -> Found:
    """Find a JSON value; a number may go on until white space ends it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip(), False
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return text.strip(), not number or text[-1:].isspace()
