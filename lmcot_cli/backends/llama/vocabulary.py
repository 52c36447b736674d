"""Text to token ids and back, by the vocabulary inside the GGUF file."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from typing import Any

from lmcot_cli.backends.base import Request, Thinking
from lmcot_cli.backends.boundaries import begun, reply_ends, turn_end
from lmcot_cli.backends.chat import ChatTemplate, is_mark, plain_text
from lmcot_cli.backends.llama.library import llama
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.thinking import MARK_TOKENS

PIECE_BYTES = 256


class Vocabulary:
    """A model's vocabulary, chat template included; it must not outlive the model.

    Attributes:
        size: How many tokens there are.
        template: The chat template; None where the file has none.

    Raises:
        ModelError: The chat template is not valid Jinja2.
    """

    def __init__(self, model: LlamaModel) -> None:
        api = llama()
        self._handle = api.llama_model_get_vocab(model.handle)
        self._bos = int(api.llama_vocab_bos(self._handle))
        self._front = self._bos if self._bos >= 0 and api.llama_vocab_get_add_bos(self._handle) else None
        self._pieces: dict[int, bytes | None] = {}
        self.size = int(api.llama_vocab_n_tokens(self._handle))
        self.template = self._template_of(model)

    @property
    def handle(self) -> Any:
        """llama.cpp's `llama_vocab *`."""
        return self._handle

    def prompt_text(self, request: Request, thinking: Thinking = "off") -> str:
        """Return what the model reads: the rendered chat, or the text as it is.

        Raises:
            ModelError: The chat template cannot render it.
        """
        return self.template.render(request, thinking) if self.template else plain_text(request)

    def prompt_tokens(self, request: Request, thinking: Thinking = "off") -> list[int]:
        """Tokenize what the model reads; only the chat template's own marks are control tokens.

        Raises:
            ModelError: The chat template cannot render it.
        """
        if not self.template:
            return self.encode(plain_text(request), parse_special=False)
        parts = self.template.parts(request, thinking)
        tokens = (self._tokenize(part.encode(), parse_special=True) for part in parts)
        return begun(list(chain.from_iterable(tokens)), self._front)

    def encode(self, text: str, *, parse_special: bool) -> list[int]:
        """Tokenize a whole text; it starts with one beginning-of-text token if the vocabulary wants one.

        Args:
            text: The text. Lone surrogates, which no tokenizer knows, become question marks.
            parse_special: Read `<|im_start|>` and its like as control tokens, not as the characters they are.
        """
        return begun(self._tokenize(text.encode("utf-8", errors="replace"), parse_special), self._front)

    def piece(self, token: int) -> bytes | None:
        """Return the bytes a token stands for: none for a control token; None if it ends the text."""
        if token not in self._pieces:
            self._pieces[token] = None if token in self.ends else self._token_bytes(token)
        return self._pieces[token]

    @cached_property
    def ends(self) -> frozenset[int]:
        """All ids that end a reply."""
        api = llama()
        named = {api.llama_vocab_eos(self._handle), api.llama_vocab_eot(self._handle)} - {-1}
        stated = [token for token in {*self._own, *named} if api.llama_vocab_is_eog(self._handle, token)]
        following = self.template.turn_end if self.template else ""
        tokens = self._tokenize(following.encode(), parse_special=True)
        return reply_ends(stated, turn_end(tokens, self._own), self._own)

    def mark(self, token: int) -> str:
        """Return the text of a control token that begins or ends a thought; empty for any other token."""
        text = "" if self.piece(token) else self._token_text(token)
        return text if text in MARK_TOKENS else ""

    def _template_of(self, model: LlamaModel) -> ChatTemplate | None:
        if not model.chat_template:
            return None
        eos = int(llama().llama_vocab_eos(self._handle))
        tokens = {"bos_token": self._token_text(self._bos), "eos_token": self._token_text(eos)}
        return ChatTemplate(model.chat_template, str(model.path), tokens, self._marks(model.chat_template))

    @cached_property
    def _own(self) -> dict[int, str]:
        """Texts of the tokens that are no words: control tokens, and those a model's makers added."""
        api, kinds = llama(), self._kinds
        wanted = api.LLAMA_TOKEN_ATTR_CONTROL | api.LLAMA_TOKEN_ATTR_USER_DEFINED
        return {token: self._token_text(token) for token, kind in enumerate(kinds) if kind & wanted}

    @cached_property
    def _kinds(self) -> list[int]:
        attribute = llama().llama_vocab_get_attr
        return [attribute(self._handle, token) for token in range(self.size)]

    def _marks(self, template: str) -> Iterator[str]:
        """Yield the texts of all control tokens, and of other tokens of their own that a template writes."""
        for token, text in self._own.items():
            if self._kinds[token] & llama().LLAMA_TOKEN_ATTR_CONTROL or is_mark(text, template):
                yield text

    def _tokenize(self, text: bytes, parse_special: bool) -> list[int]:
        # A token covers at least one byte, but some vocabularies put a space in front.
        room = len(text) + 2
        tokens = (ctypes.c_int32 * room)()
        count = llama().llama_tokenize(self._handle, text, len(text), tokens, room, False, parse_special)
        if count < 0:  # the vocabulary made more tokens than bytes: it says how many
            tokens = (ctypes.c_int32 * -count)()
            count = llama().llama_tokenize(
                self._handle, text, len(text), tokens, -count, False, parse_special
            )
        return list(tokens[:count])

    def _token_bytes(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(PIECE_BYTES)
        length = llama().llama_token_to_piece(self._handle, token, buffer, PIECE_BYTES, 0, False)
        if length < 0:  # a piece longer than the buffer: llama.cpp says how long
            buffer = ctypes.create_string_buffer(-length)
            length = llama().llama_token_to_piece(self._handle, token, buffer, -length, 0, False)
        return buffer.raw[:length]

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        text: bytes = llama().llama_vocab_get_text(self._handle, token)
        return text.decode("utf-8", errors="replace")
