"""Write tiny models with random weights, one of every family, tokenizer and peculiarity; run by hand.

    python -m tests.tiny_models FOLDER

They are what `tools.compare_with_converter` and `lmcot export` can be tried on where nothing can be downloaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

from transformers import (
    AutoTokenizer,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from tests.tiny_models.layouts import (
    BYTE_LEVEL,
    SHAPE,
    byte_level_tokenizer,
    random_model,
    sentencepiece_tokenizer,
)

GROUPED = {**SHAPE, "num_key_value_heads": 2}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {
    "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
BYTE_LEVEL_MODELS: dict[str, tuple[str, PretrainedConfig]] = {
    **{f"llama-{kind}": (kind, LlamaConfig(**SHAPE)) for kind in BYTE_LEVEL},
    "llama-3.1": ("llama-bpe", LlamaConfig(**GROUPED, rope_theta=500_000.0, rope_scaling=LLAMA3)),
    "smollm2": ("smollm", LlamaConfig(**GROUPED, tie_word_embeddings=True)),
    "qwen2": ("qwen2", Qwen2Config(**SHAPE, tie_word_embeddings=False)),
    "qwen2.5": ("qwen2", Qwen2Config(**GROUPED, tie_word_embeddings=True, rope_theta=1e6)),
    "qwen2.5-yarn": ("qwen2", Qwen2Config(**GROUPED, rope_scaling=YARN)),
    "qwen3": ("qwen2", Qwen3Config(**GROUPED, head_dim=32, tie_word_embeddings=True)),
    "gpt2": ("gpt-2", GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=256, n_ctx=256)),
}
SENTENCEPIECE_MODELS: dict[str, PretrainedConfig] = {
    "llama-2": LlamaConfig(**SHAPE),
    "gemma-3": Gemma3TextConfig(
        **{**GROUPED, "num_hidden_layers": 7}, head_dim=16, query_pre_attn_scalar=16, sliding_window=32
    ),
}
UNUSED_ROWS = 5  # real models have more embeddings than tokens


def main(target: Path) -> None:
    """Write them all."""
    for name, (kind, config) in BYTE_LEVEL_MODELS.items():
        for adds_bos in (False, True):
            folder = target / (f"{name}-bos" if adds_bos else name)
            byte_level_tokenizer(kind, adds_bos=adds_bos).save_pretrained(folder)
            save_model(config, folder)
    for name, config in SENTENCEPIECE_MODELS.items():
        sentencepiece_tokenizer(target / name)
        save_model(config, target / name)


def save_model(config: PretrainedConfig, folder: Path) -> None:
    """Write random weights for the tokenizer that is there."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config.vocab_size = len(tokenizer) + UNUSED_ROWS
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    random_model(config).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
