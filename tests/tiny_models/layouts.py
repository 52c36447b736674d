"""Tokenizers and models in the layout of real families, for what reads their files: exports above all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
TEXTS = (
    "The quick brown fox jumps over the lazy dog; it's 12 o'clock and they'll see 345 of 6,789.",
    "Silent Harbor was directed by Marek Fenwell in 1957. Größe, naïve, straße, İstanbul.",
    "def answer(x):\n\treturn {'a': x + 1, \"b\": [1, 2.5]}  # comment\n\n",
    "Привет, мир! 你好,世界。こんにちは 안녕하세요 مرحبا नमस्ते 😀 🚀",
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BYTE_LEVEL = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-bpe": [
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
    "qwen2": [
        pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
    "smollm": [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ],
}
"""How GPT-2, Llama 3, Qwen2 and SmolLM cut text, by the name GGUF has for it."""


def byte_level_tokenizer(
    kind: str, vocabulary: int = 420, *, adds_bos: bool = False
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with added and special tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama-bpe"))
    if kind == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(BYTE_LEVEL[kind])
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text for text in TEXTS for _ in range(8)], trainer)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|im_end|>", pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
    )  # fmt: skip
    fast.add_tokens(["<think>", "</think>"])
    return fast


def sentencepiece_tokenizer(folder: Path, model_type: str = "bpe", *, keep_model: bool = True) -> None:
    """Train a SentencePiece model and save it as a Llama tokenizer's folder."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(line for text in TEXTS for line in text.splitlines() if line) + "\n", "utf-8")
    sentencepiece.SentencePieceTrainer.Train(
        input=str(corpus), model_prefix=str(folder / "tokenizer"), vocab_size=450, model_type=model_type,
        byte_fallback=model_type == "bpe", normalization_rule_name="identity" if model_type == "bpe" else "nmt_nfkc",
        remove_extra_whitespaces=model_type != "bpe", character_coverage=0.98, hard_vocab_limit=False,
        minloglevel=2, num_threads=1,
    )  # fmt: skip
    corpus.unlink()
    (folder / "tokenizer.vocab").unlink()
    model = str(folder / "tokenizer.model")
    if model_type == "bpe":
        tokenizer = transformers.LlamaTokenizerFast(vocab_file=model, add_bos_token=True)
    else:  # as the Japanese GPT-2 of rinna, say
        tokenizer = transformers.T5TokenizerFast(vocab_file=model, extra_ids=0, add_prefix_space=True)
    tokenizer.save_pretrained(folder)
    if not keep_model:
        (folder / "tokenizer.model").unlink(missing_ok=True)


SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 256,
}  # fmt: skip


def random_model(config: transformers.PretrainedConfig, seed: int = 0) -> Any:
    """Build a model with random weights large enough that a wrong one shows, biases and norms included."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
            else:
                is_vocabulary = any(part in name for part in ("embed_tokens", "lm_head", "wte"))
                parameter.normal_(0, 0.35 if is_vocabulary else 2 * parameter.shape[-1] ** -0.5)
    return model
