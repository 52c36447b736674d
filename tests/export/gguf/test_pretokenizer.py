"""Tokenizers trained here, in llama.cpp: equal ids on random and adversarial strings."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest
from sentencepiece import SentencePieceProcessor
from tokenizers import normalizers
from transformers import AutoTokenizer

from lmcot_export.gguf.pretokenizer import TokenizerGuess, find_candidate, vocabulary_file
from lmcot_export.gguf.tokenizer import HuggingFaceTokenizer
from tests.tiny_models.layouts import byte_level_tokenizer, sentencepiece_tokenizer

STRINGS = 10_000
PIECES = (
    "'s", "'LL", "\u2019t", "\r\n", "\n\n", "\t", "  ", "   ", "\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff",
    "\u2028", "\x00", "\x1b[0m", "\x7f", "\u0301", "e\u0301", "\u0950", "ﬁ", "Ⅳ", "½", "²", "٣", "१", "①", "\uff11",
    "İ", "ß", "ǅ", "\U0001f9d1\u200d\U0001f680", "\U0001f1e9\U0001f1ea", "\U00020000", "\U000e0041", "\ue000",
    "\uffff", "ð", "Ġ", "<s>", "</s>", "<|", "|>", "<|endoftext", "[PAD3]", "<0x0A>", "▁", "▁▁", "%s", "{{", "\\n",
    "://", "0x", "1,000",
)  # fmt: skip


def strings(seed: int) -> Iterator[str]:
    """Draw half from assigned characters of all planes, half from pieces that tokenizers stumble over."""
    rng = random.Random(seed)
    assigned = [
        chr(code) for code in range(0x20, 0x30000) if unicodedata.category(chr(code)) not in ("Cs", "Cn")
    ]
    ascii_text = [chr(code) for code in range(0x20, 0x7F)]
    for number in range(STRINGS):
        pools = (assigned, ascii_text) if number % 2 else (PIECES, ascii_text, ("0", "1", "23", " "))
        yield "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 24)))


def assert_equal_ids(folder: Path, size: int, without: str = "") -> TokenizerGuess:
    tokenizer = HuggingFaceTokenizer(folder)
    tokens = tokenizer.tokens(size)
    candidate = find_candidate(tokenizer, tokens)
    left_out = dict.fromkeys(map(ord, without))
    texts = [tokenizer.normalized(text.translate(left_out)) for text in strings(1)]
    with vocabulary_file(tokenizer, tokens, candidate) as vocabulary:
        wrong = [text for text in texts if vocabulary.encode(text) != tokenizer.encode(text)]
    assert not wrong, f"{len(wrong)} of {len(texts)} differ: {wrong[:3]!r}"
    return candidate


@pytest.mark.parametrize("kind", ["gpt-2", "llama-bpe", "qwen2", "smollm"])
def test_byte_level_tokenizers_agree_on_any_string(kind: str, tmp_path: Path) -> None:
    tokenizer = byte_level_tokenizer(kind, 900)
    tokenizer.save_pretrained(tmp_path)
    assert assert_equal_ids(tmp_path, len(tokenizer) + 7).pre == kind


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("keep_model", [True, False])
def test_sentencepiece_bpe_agrees_on_any_string(prefix: bool, keep_model: bool, tmp_path: Path) -> None:
    sentencepiece_tokenizer(tmp_path, keep_model=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    space = normalizers.Replace(" ", "▁")
    first = [normalizers.Prepend("▁")] if prefix else []
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([*first, space])
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    if not keep_model:
        (tmp_path / "tokenizer.model").unlink()
    assert assert_equal_ids(tmp_path, len(tokenizer)) == TokenizerGuess("llama", space_prefix=prefix)


def test_sentencepiece_unigram_agrees_on_any_string(tmp_path: Path) -> None:
    sentencepiece_tokenizer(tmp_path, model_type="unigram")
    # These two change what transformers makes of some characters before them (25 of 10,000): see the next test.
    assert assert_equal_ids(tmp_path, 460, without="\u0301\u200d").model == "t5"


def test_where_sentencepiece_and_transformers_differ_llama_cpp_does_as_sentencepiece(tmp_path: Path) -> None:
    sentencepiece_tokenizer(tmp_path, model_type="unigram")
    tokenizer = HuggingFaceTokenizer(tmp_path)
    tokens = tokenizer.tokens(460)
    original = SentencePieceProcessor()
    original.Load(str(tmp_path / "tokenizer.model"))
    named = [
        token.text for token in tokens if token.type != gguf.TokenType.NORMAL
    ]  # SentencePiece reads no names
    texts = [text for text in strings(1) if not any(name in text for name in named)]
    with vocabulary_file(tokenizer, tokens, find_candidate(tokenizer, tokens)) as vocabulary:
        found = [vocabulary.encode(text) for text in texts]
    assert len(texts) > 0.9 * STRINGS
    assert found == [original.EncodeAsIds(text) for text in texts]
    assert any(ids != tokenizer.encode(text) for ids, text in zip(found, texts, strict=True))
    assert tokenizer.caveat is not None
    assert "as SentencePiece does" in tokenizer.caveat


@pytest.mark.parametrize(("kind", "caveat"), [("gpt-2", False), ("qwen2", True)])
def test_a_tokenizer_that_normalizes_is_told_of(kind: str, caveat: bool, tmp_path: Path) -> None:
    byte_level_tokenizer(kind).save_pretrained(tmp_path)
    assert (HuggingFaceTokenizer(tmp_path).caveat is not None) is caveat
