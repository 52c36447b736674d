"""Text to token ids and back, by a Hugging Face tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmcot_cli.backends.base import Request, Thinking
from lmcot_cli.backends.boundaries import begun, reply_ends, turn_end
from lmcot_cli.backends.chat import ChatTemplate, is_mark, plain_text
from lmcot_cli.backends.thinking import MARK_TOKENS
from lmcot_cli.backends.torch.tokenizing import FencedTokenizer, is_quick
from lmcot_cli.errors import ModelError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"  # how SentencePiece writes a space


class TokenizerVocabulary:
    """A tokenizer, asked as the llama.cpp engine asks its own.

    Args:
        tokenizer: What `AutoTokenizer` gave.
        ends: Ids that end a reply by the model's configuration; the tokenizer's and the chat template's come on top.
        encoder: Whether prompts go to an encoder, which reads them up to and with the end-of-text token.
        path: The model's folder, for messages.

    Attributes:
        tokenizer: The tokenizer itself.
        ends: All ids that end a reply.
        turn_end: The one of them that the chat template writes behind a reply; None where it writes none.
        template: The chat template; None where there is none, or where prompts go to an encoder.

    Raises:
        ModelError: The tokenizer has no fast form, or one whose tokens cannot be told in bytes, or the chat template
            is not valid Jinja2.
    """

    def __init__(self, tokenizer: Any, ends: Sequence[int], *, encoder: bool, path: Path) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(f"{path}: has no tokenizer.json; save the model with its fast tokenizer")
        self.tokenizer = tokenizer
        self._encoder = encoder
        self._path = path
        held = json.loads(tokenizer.backend_tokenizer.to_str())
        self._byte_level = _is_byte_level(held, path)
        # A class of the model's own, which the user has allowed to run, may read texts in its own way.
        brings_code = type(tokenizer).__module__.startswith("transformers_modules")
        self._fenced = None if brings_code or is_quick(held) else FencedTokenizer(tokenizer)
        self._own = {token: added.content for token, added in tokenizer.added_tokens_decoder.items()}
        self._added = {
            token: (b"" if added.special else added.content.encode())
            for token, added in tokenizer.added_tokens_decoder.items()
        }
        self._pieces: dict[int, bytes | None] = {}
        self._bos = self._leading_bos()
        self.template = self._template_of()
        self.turn_end = self._turn_end()
        self.ends = reply_ends([*ends, tokenizer.eos_token_id], self.turn_end, self._own)

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
            return self.encode_text(plain_text(request))
        tokens: list[int] = []
        for part in self.template.parts(request, thinking):
            tokens += self._read(part)
        return begun(tokens, self._bos)

    def encode_text(self, text: str) -> list[int]:
        """Tokenize text that names no control token, with the tokens the tokenizer puts around it.

        A decoder goes on from the text, so for it an end-of-text token at the end is left out.
        """
        tokens = self.ids(text, special=True, split=True)
        while tokens and tokens[-1] in self.ends and not self._encoder:
            tokens.pop()
        return tokens

    def ids(self, text: str, *, special: bool, split: bool) -> list[int]:
        """Tokenize a text.

        Args:
            text: The text.
            special: Put around it what the tokenizer puts around a text.
            split: Read control tokens as the characters they are.

        Raises:
            RowError: The tokenizer takes too long for it, or fails.
        """
        if self._fenced:
            return self._fenced.ids(text, special=special, split=split)
        tokens: list[int] = self.tokenizer(
            text, add_special_tokens=special, split_special_tokens=split, verbose=False
        ).input_ids
        return tokens

    def piece(self, token: int) -> bytes | None:
        """Return the bytes a token stands for: none for a control token; None if it ends the text."""
        if token not in self._pieces:
            self._pieces[token] = None if token in self.ends else self._bytes(token)
        return self._pieces[token]

    def mark(self, token: int) -> str:
        """Return the text of a control token that begins or ends a thought; empty for any other token."""
        added = self.tokenizer.added_tokens_decoder.get(token)
        return added.content if added and added.special and added.content in MARK_TOKENS else ""

    def _bytes(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token]
        text = self.tokenizer.convert_ids_to_tokens(token)
        if text is None:  # embeddings padded to a round number have ids without a token
            return b""
        if self._byte_level:
            return b"".join(_BYTES.get(character, character.encode()) for character in text)
        if byte := _BYTE_TOKEN.fullmatch(text):
            return bytes.fromhex(byte[1])
        return str(text).replace(_WORD_START, " ").encode()

    def _read(self, text: str) -> list[int]:
        """Tokenize text whose control tokens are meant as such."""
        return self.ids(text, special=False, split=False)

    def _leading_bos(self) -> int | None:
        """Return the beginning-of-text token that the tokenizer puts in front of a text, None where it does not."""
        bos = self.tokenizer.bos_token_id
        return bos if bos is not None and self.ids("x", special=True, split=False)[:1] == [bos] else None

    def _turn_end(self) -> int | None:
        return turn_end(self._read(self.template.turn_end), self._own) if self.template else None

    def _template_of(self) -> ChatTemplate | None:
        source = self.tokenizer.chat_template
        if isinstance(source, dict):  # several, for several uses
            source = source.get("default")
        if not source or self._encoder:
            return None
        marks = [
            added.content
            for added in self.tokenizer.added_tokens_decoder.values()
            if added.special or is_mark(added.content, source)
        ]
        named = self.tokenizer.special_tokens_map.items()
        return ChatTemplate(source, str(self._path), {k: v for k, v in named if isinstance(v, str)}, marks)


def _is_byte_level(held: Mapping[str, Any], path: Path) -> bool:
    """Tell byte-level BPE from SentencePiece's ways by how the tokenizer decodes."""
    decoder = held["decoder"]
    kinds = {part["type"] for part in (decoder or {}).get("decoders", [decoder or {"type": None}])}
    if not kinds & {"ByteLevel", "ByteFallback", "Metaspace"}:
        raise ModelError(
            f"{path}: its tokenizer is neither byte-level BPE nor SentencePiece's; use another model"
        )
    return "ByteLevel" in kinds


def _byte_characters() -> dict[str, bytes]:
    """Map each of the 256 characters that stand for bytes in GPT-2's byte-level BPE to its byte."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return {chr(byte if byte in printable else next(hidden)): bytes([byte]) for byte in range(256)}


_BYTES = _byte_characters()
