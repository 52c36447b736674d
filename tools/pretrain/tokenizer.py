"""A byte-level BPE for MicroHop's text; bytes it has no word for still have tokens, so any text can be read."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

BOS, EOS = "<s>", "</s>"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Learn merges from texts, with GPT-2's pre-tokenizer (`gpt-2` in GGUF); ids 0 and 1 are `<s>` and `</s>`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of `BOS` or `EOS`.

    Raises:
        KeyError: The tokenizer was not made by `train_tokenizer`.
    """
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(token)
    return found
