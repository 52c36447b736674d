"""A Hugging Face tokenizer in GGUF's terms: tokens, their types and scores, merges, special tokens, chat template.

Three kinds are known: byte-level BPE (GPT-2 and after), SentencePiece BPE (Llama 2, Gemma) and SentencePiece unigram.
How text is cut before that, and whether a space is put in front, is not read off the files but found by trying: see
`lmcot_export.gguf.pretokenizer`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import gguf

from lmcot_cli.backends.torch.library import loading
from lmcot_cli.backends.torch.template_file import try_template
from lmcot_cli.backends.torch.tokenizing import MOST_BYTES, try_tokenizer
from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object
from lmcot_export.gguf.config import OWN_CODE, ModelConfig

Kind = Literal["byte-level BPE", "SentencePiece BPE", "SentencePiece unigram"]
SPECIAL_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")

_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_LOOKS_SPECIAL = re.compile(r"<\|.*\|>|<\uff5c.*\uff5c>|<unused.*>|<pad>|<mask>|<2mass>|\[@BOS@\]", re.DOTALL)
_UNUSED_SCORE, _ADDED_SCORE = -10_000.0, -1_000.0


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of a vocabulary; the score is of use to SentencePiece kinds only."""

    text: str
    type: gguf.TokenType
    score: float = 0.0


class HuggingFaceTokenizer:
    """A model folder's tokenizer, as transformers loads it.

    Raises:
        ModelError: There is none, or it is of a kind that llama.cpp does not know.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.folder = folder
        for file in (folder / "tokenizer.json", folder / "tokenizer_config.json"):
            if file.is_file():
                read_object(file, most=MOST_BYTES)
        try_template(folder)
        try_tokenizer(folder)
        with loading(folder, OWN_CODE):
            self._tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_fast=True
            )
        if not getattr(self._tokenizer, "is_fast", False):
            raise ModelError(f"{folder}: has a tokenizer without tokenizer.json, which cannot be exported")
        self._json: Mapping[str, Any] = json.loads(self._tokenizer.backend_tokenizer.to_str())

    @cached_property
    def kind(self) -> Kind:
        """What algorithm the tokenizer runs."""
        model = self._json["model"]
        if model["type"] == "Unigram":
            return "SentencePiece unigram"
        if model["type"] == "BPE" and _mentions(self._json["pre_tokenizer"], "ByteLevel"):
            return "byte-level BPE"
        if model["type"] == "BPE" and model.get("byte_fallback"):
            return "SentencePiece BPE"
        raise ModelError(
            f"{self.folder}: its tokenizer ({model['type']}) is neither byte-level BPE nor SentencePiece; let a"
            " llama.cpp checkout convert it: --converter PATH"
        )

    @property
    def chat_template(self) -> str | list[dict[str, str]] | None:
        """The Jinja2 template, or several by name."""
        template = self._tokenizer.chat_template
        if isinstance(template, dict):
            return [{"name": name, "template": text} for name, text in template.items()]
        return template or None

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Return token ids as a user of transformers gets them."""
        return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens))

    @property
    def normalizes(self) -> bool:
        """Whether text is normalized (NFC, mostly) before byte-level BPE, which llama.cpp does not do."""
        return self.kind == "byte-level BPE" and self._tokenizer.backend_tokenizer.normalizer is not None

    def normalized(self, text: str) -> str:
        """Return the text as a byte-level tokenizer's normalizer leaves it."""
        if not self.normalizes:
            return text
        return str(self._tokenizer.backend_tokenizer.normalizer.normalize_str(text))

    @property
    def caveat(self) -> str | None:
        """The texts on which llama.cpp gives other tokens than transformers, whatever a file says; None where none."""
        if self.normalizes:
            return (
                "the tokenizer normalizes Unicode (NFC) before it cuts text, llama.cpp does not: text with letters and"
                " accents as characters of their own (as macOS names files) gives other tokens"
            )
        if self.kind == "SentencePiece unigram" and self.character_map():
            return (
                "llama.cpp normalizes Unicode character by character, as SentencePiece does, transformers also clusters"
                " of them: an accent or joiner after a character that is replaced (½, ①, ﬁ, a tab) is"
                " kept by the one and lost by the other"
            )
        return None

    def spellings(self) -> list[str]:
        """Return what the ordinary tokens stand for, those left out that are no whole characters."""
        added = self._tokenizer.added_tokens_decoder
        texts = (self._tokenizer.decode([id]) for id in range(self._tokenizer.vocab_size) if id not in added)
        return [text for text in texts if text and "\ufffd" not in text]

    def special_ids(self, config: ModelConfig | Mapping[str, Any]) -> dict[str, int]:
        """Return the ids of special tokens by role: the tokenizer's own, else those of `config.json`."""
        ids = {}
        for role in SPECIAL_ROLES:
            id = getattr(self._tokenizer, f"{role}_token_id", None)
            id = config.get(f"{role}_token_id") if id is None else id
            if isinstance(id, int) and id >= 0:
                ids[role] = id
        return ids

    def adds(self, role: str) -> bool:
        """Whether transformers puts the `bos` in front of, or the `eos` behind, each text it encodes."""
        id = getattr(self._tokenizer, f"{role}_token_id")
        if id is None:
            return False
        plain, special = self.encode("a"), self.encode("a", add_special_tokens=True)
        edge, bare = (special[:1], plain[:1]) if role == "bos" else (special[-1:], plain[-1:])
        return edge == [id] and bare != [id]

    def tokens(self, size: int) -> list[Token]:
        """Return the vocabulary, filled up to `size` entries (the rows of the embeddings).

        Raises:
            ModelError: There are more tokens than rows, or two tokens of the same text.
        """
        known = self._base_tokens() | self._added_tokens()
        if max(known) >= size:
            raise ModelError(f"{self.folder}: {self._explain_surplus(known, size)}")
        filler = (Token(f"[PAD{id}]", gguf.TokenType.UNUSED, _UNUSED_SCORE) for id in range(size))
        tokens = [known.get(id, unused) for id, unused in enumerate(filler)]
        if len({token.text for token in tokens}) < size:
            raise ModelError(
                f"{self.folder}: two tokens have the same text; llama.cpp cannot tell them apart"
            )
        return tokens

    def _explain_surplus(self, known: Mapping[int, Token], size: int) -> str:
        if (self.folder / "tokenizer_config.json").is_file():
            return (
                f"its tokenizer has ids up to {max(known)}, but the model has embeddings for {size}; call"
                " model.resize_token_embeddings(len(tokenizer)) and save it again"
            )
        surplus = ", ".join(token.text for id, token in sorted(known.items()) if id >= size)
        return (
            f"has no tokenizer_config.json, so that transformers takes the tokenizer for a"
            f" {type(self._tokenizer).__name__} and adds {surplus}, for which the model has no embeddings; write that"
            ' file: {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": ..., "eos_token": ...}'
        )

    def merges(self) -> list[str]:
        """Return BPE merges, best first, as GGUF writes them: two tokens with a space between."""
        return [" ".join(part.replace(" ", "Ġ") for part in pair) for pair in self._merge_pairs()]

    def character_map(self) -> bytes | None:
        """Return SentencePiece's compiled normalization rules, if there are any."""
        text = _find(self._json.get("normalizer"), "precompiled_charsmap")
        return base64.b64decode(text) if text else None

    def _base_tokens(self) -> dict[int, Token]:
        normal = gguf.TokenType.NORMAL
        if self.kind == "byte-level BPE":
            return {id: Token(text, normal) for text, id in self._json["model"]["vocab"].items()}
        pieces = self._sentencepiece_file() or self._sentencepiece_json()
        return dict(enumerate(pieces))

    def _sentencepiece_file(self) -> list[Token] | None:
        """Read pieces, scores and types from `tokenizer.model`, where the folder has one of the same kind."""
        path = self.folder / "tokenizer.model"
        if not path.is_file():
            return None
        from sentencepiece import SentencePieceProcessor

        model = SentencePieceProcessor()
        model.Load(str(path))
        return [
            Token(model.IdToPiece(id), _piece_type(model, id), model.GetScore(id))
            for id in range(model.GetPieceSize())
        ]

    def _sentencepiece_json(self) -> list[Token]:
        """Derive pieces, scores and types from `tokenizer.json`."""
        model = self._json["model"]
        if self.kind == "SentencePiece unigram":
            scored = [(str(text), float(score)) for text, score in model["vocab"]]
            unknown = model.get("unk_id")
        else:
            scores = self._scores_of_merges()
            ordered = sorted(model["vocab"].items(), key=lambda item: item[1])
            scored = [(text, scores.get(text, 0.0)) for text, _ in ordered]
            unknown = model["vocab"].get(model.get("unk_token"))
        return [
            Token(text, gguf.TokenType.UNKNOWN if id == unknown else _json_type(text), score)
            for id, (text, score) in enumerate(scored)
        ]

    def _scores_of_merges(self) -> dict[str, float]:
        """Give every merged piece the score that makes llama.cpp merge in the tokenizer's order."""
        scores: dict[str, float] = {}
        for rank, (left, right) in enumerate(self._merge_pairs()):
            scores.setdefault(left + right, -float(rank))
        return scores

    def _merge_pairs(self) -> Iterator[Sequence[str]]:
        for merge in self._json["model"]["merges"]:
            yield merge.split(" ") if isinstance(merge, str) else merge

    def _added_tokens(self) -> dict[int, Token]:
        """Return added tokens; those that are special, or look it, are control tokens."""
        added = {}
        for id, token in self._tokenizer.added_tokens_decoder.items():
            text = str(token.content)
            if token.special or _LOOKS_SPECIAL.fullmatch(text):
                added[id] = Token(text, gguf.TokenType.CONTROL, _ADDED_SCORE)
            else:
                added[id] = Token(text.replace("▁", " "), gguf.TokenType.USER_DEFINED, _ADDED_SCORE)
        return added


def _piece_type(model: Any, id: int) -> gguf.TokenType:
    if model.IsUnknown(id):
        return gguf.TokenType.UNKNOWN
    if model.IsControl(id):
        return gguf.TokenType.CONTROL
    if model.IsUnused(id):
        return gguf.TokenType.UNUSED
    return gguf.TokenType.BYTE if model.IsByte(id) else gguf.TokenType.NORMAL


def _json_type(text: str) -> gguf.TokenType:
    return gguf.TokenType.BYTE if _BYTE_TOKEN.fullmatch(text) else gguf.TokenType.NORMAL


def _mentions(node: Any, type: str) -> bool:
    """Whether a step of a tokenizer, or one within it, is of a type."""
    if isinstance(node, Mapping):
        return node.get("type") == type or any(_mentions(value, type) for value in node.values())
    return isinstance(node, list) and any(_mentions(step, type) for step in node)


def _find(node: Any, key: str) -> Any:
    if isinstance(node, Mapping):
        return node.get(key) or next(filter(None, (_find(value, key) for value in node.values())), None)
    if isinstance(node, list):
        return next(filter(None, (_find(step, key) for step in node)), None)
    return None
