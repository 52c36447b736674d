"""The vocabulary inside a GGUF file, as llama.cpp reads it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from lmcot_cli.backends.boundaries import begun
from lmcot_cli.backends.llama.library import llama
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.vocabulary import Vocabulary

PIECE_BYTES = 256


class LlamaVocabulary(Vocabulary):
    """A loaded model's vocabulary, chat template included; it must not outlive the model.

    Raises:
        ModelError: The chat template is not valid Jinja2.
    """

    def __init__(self, model: LlamaModel) -> None:
        super().__init__()
        api = llama()
        self.handle: Any = api.llama_model_get_vocab(model.handle)
        self.size = int(api.llama_vocab_n_tokens(self.handle))
        bos, eos = int(api.llama_vocab_bos(self.handle)), int(api.llama_vocab_eos(self.handle))
        self._first = bos if bos >= 0 and api.llama_vocab_get_add_bos(self.handle) else None
        named = {"bos_token": self._text(bos), "eos_token": self._text(eos)}
        source = model.header.chat_template
        self.template = self._new_template(source, str(model.path), named) if source else None

    def encode_text(self, text: str) -> list[int]:
        """Tokenize a whole text; see `Vocabulary.encode_text`. Lone surrogates become question marks."""
        return begun(self._tokenize(text, read_marks=False), self._bos)

    def encode_marked(self, text: str) -> list[int]:
        """Tokenize a part of a text with its control tokens; see `Vocabulary.encode_marked`."""
        return self._tokenize(text, read_marks=True)

    @property
    def _bos(self) -> int | None:
        return self._first

    @cached_property
    def _own(self) -> dict[int, str]:
        api, kinds = llama(), self._kinds
        wanted = api.LLAMA_TOKEN_ATTR_CONTROL | api.LLAMA_TOKEN_ATTR_USER_DEFINED
        return {token: self._text(token) for token, kind in enumerate(kinds) if kind & wanted}

    @cached_property
    def _kinds(self) -> list[int]:
        attribute = llama().llama_vocab_get_attr
        return [attribute(self.handle, token) for token in range(self.size)]

    def _is_control(self, token: int) -> bool:
        return bool(self._kinds[token] & llama().LLAMA_TOKEN_ATTR_CONTROL)

    def _stated_ends(self) -> Iterable[int]:
        api = llama()
        named = {api.llama_vocab_eos(self.handle), api.llama_vocab_eot(self.handle)} - {-1}
        return [token for token in {*self._own, *named} if api.llama_vocab_is_eog(self.handle, token)]

    def _tokenize(self, text: str, *, read_marks: bool) -> list[int]:
        data = text.encode("utf-8", errors="replace")

        def tokenize(room: int) -> tuple[int, Any]:
            tokens = (ctypes.c_int32 * room)()
            return llama().llama_tokenize(
                self.handle, data, len(data), tokens, room, False, read_marks
            ), tokens

        # A token covers at least one byte, but some vocabularies put a space in front.
        count, tokens = tokenize(len(data) + 2)
        if count < 0:  # there are more tokens than bytes: llama.cpp says how many
            count, tokens = tokenize(-count)
        return list(tokens[:count])

    def _bytes(self, token: int) -> bytes:
        def read(size: int) -> tuple[int, bytes]:
            buffer = ctypes.create_string_buffer(size)
            return llama().llama_token_to_piece(self.handle, token, buffer, size, 0, False), buffer.raw

        length, piece = read(PIECE_BYTES)
        if length < 0:  # a piece longer than the buffer: llama.cpp says how long
            length, piece = read(-length)
        return piece[:length]

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        text: bytes = llama().llama_vocab_get_text(self.handle, token)
        return text.decode("utf-8", errors="replace")
