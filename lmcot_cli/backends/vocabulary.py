"""Text to token ids and back, by a model's own vocabulary and chat template."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import chain
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lmcot_cli.backends.base import Request, Thinking
from lmcot_cli.backends.boundaries import begun, reply_ends, turn_end
from lmcot_cli.backends.chat import ChatTemplate, is_mark, plain_text
from lmcot_cli.backends.thinking import MARK_TOKENS

TokenIds: TypeAlias = npt.NDArray[np.int32]
"""The tokens of a prompt, [tokens]."""


class Vocabulary(ABC):
    """A model's vocabulary, whichever library reads it.

    Attributes:
        size: Number of tokens.
        template: The chat template; None where the model has none.
        encoder: Whether prompts go to an encoder, which reads them up to and including the end-of-text token.
    """

    size: int
    template: ChatTemplate | None
    encoder = False

    def __init__(self) -> None:
        self._pieces: dict[int, bytes | None] = {}

    def prompt_text(self, request: Request, thinking: Thinking = "off") -> str:
        """Return what the model reads: the rendered chat, or the text as it is.

        Raises:
            ModelError: The chat template cannot render it.
        """
        return self.template.render(request, thinking) if self.template else plain_text(request)

    def prompt_tokens(self, request: Request, thinking: Thinking = "off") -> list[int]:
        """Tokenize what the model reads; only the chat template's own marks become control tokens.

        Raises:
            ModelError: The chat template cannot render it.
            RowError: The tokenizer takes too long for it, or fails.
        """
        if not self.template:
            return self.encode_text(plain_text(request))
        parts = self.template.parts(request, thinking)
        return begun(list(chain.from_iterable(map(self.encode_marked, parts))), self._bos)

    @abstractmethod
    def encode_text(self, text: str) -> list[int]:
        """Tokenize a whole text that names no control token, with the tokens that go around a text."""

    @abstractmethod
    def encode_marked(self, text: str) -> list[int]:
        """Tokenize a part of a text, reading `<|im_start|>` and its like as control tokens."""

    def piece(self, token: int) -> bytes | None:
        """Return the bytes of a token: empty for a control token, None if it ends the text."""
        if token not in self._pieces:
            self._pieces[token] = None if token in self.ends else self._bytes(token)
        return self._pieces[token]

    def mark(self, token: int) -> str:
        """Return the text of a control token that begins or ends a thought; empty for any other token."""
        text = "" if self.piece(token) else self._own.get(token, "")
        return text if text in MARK_TOKENS else ""

    @cached_property
    def ends(self) -> frozenset[int]:
        """All tokens that end a reply."""
        return reply_ends(self._stated_ends(), self.turn_end, self._own)

    @cached_property
    def turn_end(self) -> int | None:
        """The token that the chat template writes after a reply; None where it writes none."""
        return turn_end(self.encode_marked(self.template.turn_end), self._own) if self.template else None

    @property
    @abstractmethod
    def _bos(self) -> int | None:
        """The token that texts begin with; None where they begin with none."""

    @property
    @abstractmethod
    def _own(self) -> Mapping[int, str]:
        """Texts of the tokens that are no words: control tokens, and those that the model's makers added."""

    @abstractmethod
    def _is_control(self, token: int) -> bool:
        """Return whether a token of `_own` is a control token."""

    @abstractmethod
    def _stated_ends(self) -> Iterable[int | None]:
        """Return the tokens that the model's files name as ends."""

    @abstractmethod
    def _bytes(self, token: int) -> bytes:
        """Return the bytes of a token that does not end the text."""

    def _new_template(self, source: str, model_name: str, named: Mapping[str, str]) -> ChatTemplate:
        """Return a chat template whose marks no message can forge.

        Args:
            source: The template.
            model_name: What messages call the model.
            named: Texts of the tokens that the template may name (`bos_token` and the like).
        """
        own = self._own.items()
        marks = [text for token, text in own if self._is_control(token) or is_mark(text, source)]
        return ChatTemplate(source, model_name, named, marks)
