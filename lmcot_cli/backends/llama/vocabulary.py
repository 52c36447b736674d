"""Text to token ids and back, by the vocabulary inside the GGUF file."""

from __future__ import annotations

import ctypes
from typing import Any

from lmcot_cli.backends.llama.library import llama
from lmcot_cli.backends.llama.model import LlamaModel

PIECE_BYTES = 256


class Vocabulary:
    """A model's vocabulary; it must not outlive the model."""

    def __init__(self, model: LlamaModel) -> None:
        api = llama()
        self._handle = api.llama_model_get_vocab(model.handle)
        self._bos = int(api.llama_vocab_bos(self._handle))
        self._adds_bos = self._bos >= 0 and bool(api.llama_vocab_get_add_bos(self._handle))
        self._pieces: dict[int, bytes | None] = {}
        self.size = int(api.llama_vocab_n_tokens(self._handle))

    @property
    def handle(self) -> Any:
        """llama.cpp's `llama_vocab *`."""
        return self._handle

    @property
    def bos_text(self) -> str:
        """How the beginning-of-text token is written in a chat template; empty where there is none."""
        return self._token_text(self._bos)

    @property
    def eos_text(self) -> str:
        """How the end-of-text token is written in a chat template; empty where there is none."""
        return self._token_text(int(llama().llama_vocab_eos(self._handle)))

    def encode(self, text: str, *, parse_special: bool) -> list[int]:
        """Tokenize a whole prompt; it starts with one beginning-of-text token if the vocabulary wants one.

        Args:
            text: The prompt. Lone surrogates, which no tokenizer knows, become question marks.
            parse_special: Read `<|im_start|>` and its like as control tokens, not as the characters they are.
        """
        tokens = self._tokenize(text.encode("utf-8", errors="replace"), parse_special)
        if self._adds_bos and tokens[:1] != [self._bos]:
            tokens.insert(0, self._bos)
        return tokens

    def piece(self, token: int) -> bytes | None:
        """Return the bytes a token stands for: none for a control token; None if it ends the text."""
        if token not in self._pieces:
            ends = llama().llama_vocab_is_eog(self._handle, token)
            self._pieces[token] = None if ends else self._token_bytes(token)
        return self._pieces[token]

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
