"""The vocabulary of a Hugging Face tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lmcot_cli.backends.torch.tokenizing import FencedTokenizer, is_quick
from lmcot_cli.backends.vocabulary import Vocabulary
from lmcot_cli.errors import ModelError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's character for a space


class TokenizerVocabulary(Vocabulary):
    """The vocabulary of a tokenizer.

    Args:
        tokenizer: The result of `AutoTokenizer`.
        ends: Tokens that end a reply according to the model's configuration; those of the tokenizer and of the chat
            template are added.
        encoder: Whether prompts go to an encoder; then there is no chat template.
        path: The model's folder, for messages.

    Raises:
        ModelError: The tokenizer has no fast form, or its tokens have no bytes, or the chat template is not valid
            Jinja2.
    """

    def __init__(self, tokenizer: Any, ends: Sequence[int], *, encoder: bool, path: Path) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(f"{path}: has no tokenizer.json; save the model with its fast tokenizer")
        super().__init__()
        self.tokenizer, self.size, self.encoder = tokenizer, len(tokenizer), encoder
        self._path, self._configured_ends = path, ends
        held = json.loads(tokenizer.backend_tokenizer.to_str())
        self._byte_level = _is_byte_level(held, path)
        # A class of the model's own, which the user has allowed to run, may read texts in its own way.
        brings_code = type(tokenizer).__module__.startswith("transformers_modules")
        self._fenced = None if brings_code or is_quick(held) else FencedTokenizer(tokenizer)
        self._added = dict(tokenizer.added_tokens_decoder)
        source = tokenizer.chat_template
        source = source.get("default") if isinstance(source, dict) else source  # several, for several uses
        named = {name: text for name, text in tokenizer.special_tokens_map.items() if isinstance(text, str)}
        self.template = self._new_template(source, str(path), named) if source and not encoder else None

    def encode_text(self, text: str) -> list[int]:
        """Tokenize a whole text; see `Vocabulary.encode_text`.

        A decoder continues the text, so for it an end-of-text token at the end is left out.
        """
        tokens = self.ids(text, special=True, split=True)
        while tokens and tokens[-1] in self.ends and not self.encoder:
            tokens.pop()
        return tokens

    def encode_marked(self, text: str) -> list[int]:
        """Tokenize a part of a text with its control tokens; see `Vocabulary.encode_marked`."""
        return self.ids(text, special=False, split=False)

    def ids(self, text: str, *, special: bool, split: bool) -> list[int]:
        """Tokenize a text.

        Args:
            text: The text.
            special: Whether to add the tokens that the tokenizer puts around a text.
            split: Whether to read control tokens as the characters they are.

        Raises:
            RowError: The tokenizer takes too long for it, or fails.
        """
        if self._fenced:
            return self._fenced.ids(text, special=special, split=split)
        tokens: list[int] = self.tokenizer(
            text, add_special_tokens=special, split_special_tokens=split, verbose=False
        ).input_ids
        return tokens

    @cached_property
    def _bos(self) -> int | None:
        bos = self.tokenizer.bos_token_id
        return bos if bos is not None and self.ids("x", special=True, split=False)[:1] == [bos] else None

    @cached_property
    def _own(self) -> dict[int, str]:
        return {token: added.content for token, added in self._added.items()}

    def _is_control(self, token: int) -> bool:
        return bool(self._added[token].special)

    def _stated_ends(self) -> Iterable[int | None]:
        return [*self._configured_ends, self.tokenizer.eos_token_id]

    def _bytes(self, token: int) -> bytes:
        if added := self._added.get(token):
            return b"" if added.special else bytes(added.content.encode())
        text = self.tokenizer.convert_ids_to_tokens(token)
        if text is None:  # embeddings padded to a round number have ids without a token
            return b""
        if self._byte_level:
            return b"".join(_BYTES.get(character, character.encode()) for character in text)
        if byte := _BYTE_TOKEN.fullmatch(text):
            return bytes.fromhex(byte[1])
        return str(text).replace(_WORD_START, " ").encode()


def _is_byte_level(held: Mapping[str, Any], path: Path) -> bool:
    """Return whether a tokenizer is byte-level BPE, and not SentencePiece's, judging by its decoder."""
    decoder = held["decoder"]
    kinds = {part["type"] for part in (decoder or {}).get("decoders", [decoder or {"type": None}])}
    if not kinds & {"ByteLevel", "ByteFallback", "Metaspace"}:
        raise ModelError(
            f"{path}: its tokenizer is neither byte-level BPE nor SentencePiece's; use another model"
        )
    return "ByteLevel" in kinds


def _byte_characters() -> dict[str, bytes]:
    """Return the bytes that GPT-2's byte-level BPE writes as characters, by these characters."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return {chr(byte if byte in printable else next(hidden)): bytes([byte]) for byte in range(256)}


_BYTES = _byte_characters()
