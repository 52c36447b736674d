"""Replies that follow a grammar, by llama.cpp's own grammar sampler."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any, TypeAlias

import numpy as np

from lmcot_cli.backends.constraint import Choices, Constraint, Number
from lmcot_cli.backends.llama.grammar import ROOT, grammar_of
from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.backends.masks.base import Mask, TokenSet
from lmcot_cli.backends.masks.lexicon import Lexicon, as_ids, unfinished
from lmcot_cli.backends.masks.numbers import has_left, number_in
from lmcot_cli.errors import UsageError

Found: TypeAlias = tuple[str, bool]
"""The part of a reply that meets its constraint, and whether the reply has ended."""

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_REFUSED = -np.inf


class Grammar:
    """A state of llama.cpp's grammar sampler."""

    def __init__(self, handle: Any, size: int) -> None:
        self._handle = handle
        self._size = size
        weakref.finalize(self, llama().llama_sampler_free, handle)

    @classmethod
    def of(cls, constraint: Constraint, vocabulary: LlamaVocabulary) -> Grammar:
        """Return the grammar of a constraint, at its beginning.

        Raises:
            UsageError: llama.cpp does not accept it.
        """
        forget_errors()
        text = grammar_of(constraint).encode()
        with _stderr_caught() as said:
            handle = llama().llama_sampler_init_grammar(vocabulary.handle, text, ROOT.encode())
        if not handle:
            first = said[0].partition("\n")[0].removeprefix("parse: error parsing grammar: ")
            raise UsageError(
                f"--answer json:...: llama.cpp cannot follow the grammar made of the schema: {first or first_error()};"
                " ask for something simpler (plainer patterns, smaller bounds)"
            )
        return cls(handle, vocabulary.size)

    def clone(self) -> Grammar:
        """Return another state at the same place."""
        return Grammar(llama().llama_sampler_clone(self._handle), self._size)

    def among(self, tokens: TokenSet) -> TokenSet:
        """Return those of `tokens` that may come next."""
        candidates = np.zeros(len(tokens), _CANDIDATE)
        candidates["id"] = tokens
        api = llama()
        data = candidates.ctypes.data_as(ctypes.POINTER(api.llama_token_data))
        array = api.llama_token_data_array(data, len(tokens), -1, False)
        api.llama_sampler_apply(self._handle, ctypes.byref(array))
        return tokens[candidates["logit"] > _REFUSED]

    def accept(self, token: int) -> None:
        """Advance by a token that may come next."""
        llama().llama_sampler_accept(self._handle, token)


class GrammarMask(Mask):
    """Follows a reply by a grammar."""

    __slots__ = ("_constraint", "_grammar", "_lexicon", "_unfinished", "_written")

    def __init__(self, grammar: Grammar, lexicon: Lexicon, constraint: Constraint) -> None:
        self._grammar, self._lexicon, self._constraint = grammar, lexicon, constraint
        self._written = b""
        self._unfinished = b""  # of a character

    @property
    def text(self) -> str:
        """The reply as far as it meets the constraint."""
        return self._found()[0]

    def allows(self, token: int) -> bool:
        """Ask the grammar for one token; by itself it accepts control tokens, and anything after half a character."""
        piece = self._lexicon.piece(token)
        sound = piece is None or unfinished(piece, self._unfinished) is not None
        return piece != b"" and sound and len(self._grammar.among(np.array([token]))) == 1

    def allowed(self) -> TokenSet:
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
        return self._found()[1]

    def _found(self) -> Found:
        text = self._written.decode("utf-8", errors="replace")
        match self._constraint:
            case Choices(texts):
                return _find_choice(text.lstrip(), [choice.strip() for choice in texts])
            case Number():
                return number_in(text), has_left(text)
        return _find_json(text)


@contextmanager
def _stderr_caught() -> Iterator[list[str]]:
    """Keep the output of llama.cpp's parser, which bypasses its log, off the terminal; the list gets it at the end."""
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


def _find_choice(text: str, choices: Sequence[str]) -> Found:
    """Find the longest choice that a reply begins with."""
    found = max((choice for choice in choices if text.startswith(choice)), key=len, default="")
    may_grow = any(choice.startswith(text) and choice != text for choice in choices)
    return found, bool(found) and not may_grow


def _find_json(text: str) -> Found:
    """Find a JSON value; a number may continue until white space ends it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip(), False
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return text.strip(), not number or text[-1:].isspace()
