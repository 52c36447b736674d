"""Every family in several shapes: what llama.cpp computes from the file is what torch computes from the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from lmcot_cli.backends.llama.library import llama
from lmcot_cli.errors import ModelError
from lmcot_export.gguf.families import interleave
from lmcot_export.gguf.write import prepare, write_gguf
from tests.tiny_models.layouts import byte_level_tokenizer, random_model

POSITIONS, LENGTH = 2_000, 250
SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 256,
}  # fmt: skip


def llama_shape(**changes: Any) -> LlamaConfig:
    return LlamaConfig(**{**SHAPE, **changes})


def rope(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"rope_scaling": {"rope_type": kind, "factor": 4.0, **parameters}}


LLAMA3_ROPE = rope("llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
MODELS: dict[str, PretrainedConfig] = {
    "llama": llama_shape(),
    "llama tied, grouped queries": llama_shape(num_key_value_heads=2, tie_word_embeddings=True),
    "llama biases, wide heads": llama_shape(attention_bias=True, mlp_bias=True, head_dim=32),
    "llama rope llama3": llama_shape(rope_theta=500_000.0, **LLAMA3_ROPE),
    "llama rope linear": llama_shape(**rope("linear")),
    "llama rope dynamic": llama_shape(**rope("dynamic")),
    "llama rope yarn": llama_shape(**rope("yarn", original_max_position_embeddings=64)),
    "llama rope yarn, attention": llama_shape(
        **rope("yarn", original_max_position_embeddings=64, attention_factor=1.3)
    ),
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=False),
    "qwen2 tied, one key head": Qwen2Config(
        **{**SHAPE, "num_key_value_heads": 1}, tie_word_embeddings=True, rope_theta=1e6
    ),
    "qwen2 rope yarn": Qwen2Config(**SHAPE, **rope("yarn", original_max_position_embeddings=64)),
    "qwen3 tied, grouped queries": Qwen3Config(
        **{**SHAPE, "num_key_value_heads": 2}, head_dim=32, tie_word_embeddings=True
    ),
    "qwen3": Qwen3Config(**SHAPE, head_dim=16),
    "gemma3": Gemma3TextConfig(
        **{**SHAPE, "num_hidden_layers": 7, "num_key_value_heads": 2},
        head_dim=16, query_pre_attn_scalar=16, sliding_window=32,
    ),
    "gemma3 rope linear, capped": Gemma3TextConfig(
        **{**SHAPE, "num_hidden_layers": 6, "num_key_value_heads": 1}, **rope("linear"),
        head_dim=32, query_pre_attn_scalar=32, sliding_window=16, final_logit_softcapping=30.0,
    ),
    "gpt2": GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=256),
    "gpt2 untied, narrow": GPT2Config(
        n_embd=64, n_layer=2, n_head=2, n_positions=256, n_inner=160, tie_word_embeddings=False
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> transformers.PreTrainedTokenizerFast:
    return byte_level_tokenizer("gpt-2")


@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_what_torch_computes(
    name: str,
    tokenizer: transformers.PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    config = MODELS[name]
    config.vocab_size = len(tokenizer) + 5  # rows that no token uses, as real models have
    model = random_model(config)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    write_gguf(tmp_path, tmp_path / "model.gguf", "f32")
    texts = np.random.default_rng(0).integers(0, config.vocab_size, (POSITIONS // LENGTH, LENGTH))
    with torch.inference_mode():
        wanted = model(torch.from_numpy(texts)).logits.flatten(0, 1)
    found = llama_logits(tmp_path / "model.gguf", texts)
    assert len(found) == POSITIONS
    same = wanted.argmax(-1) == found.argmax(-1)
    two = wanted.topk(2).values
    ties = (two[:, 0] - two[:, 1]).abs() < 2e-3  # ggml's GELU is a table of half-precision numbers
    assert bool((same | ties).all())
    assert int((~same).sum()) <= (2 if name.startswith(("gpt2", "gemma3")) else 0)
    assert divergence(wanted, found).max() < 1e-4


def llama_logits(path: Path, texts: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return llama.cpp's logits of every position of several texts, [positions, vocabulary]."""
    llama()
    model = llama_cpp.Llama(
        str(path),
        n_ctx=LENGTH,
        n_batch=LENGTH,
        logits_all=True,
        verbose=False,
        n_threads=1,
        type_k=0,
        type_v=0,
    )
    parts = []
    for text in texts:
        model.reset()
        model.eval(text.tolist())
        parts.append(torch.from_numpy(model.scores[:LENGTH].copy()))
    model.close()
    return torch.cat(parts)


def divergence(wanted: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of every position, in nats."""
    left, right = wanted.double().log_softmax(-1), found.double().log_softmax(-1)
    return (left.exp() * (left - right)).sum(-1)


def test_interleave_puts_the_halves_of_a_head_next_to_each_other() -> None:
    # Two heads of width 4, rows numbered: halves (0, 1 | 2, 3) become pairs (0, 2), (1, 3).
    rows = np.arange(8, dtype=np.float32)
    assert interleave(rows, 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


LONGROPE = {
    "rope_type": "longrope", "factor": 4.0, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8,
    "original_max_position_embeddings": 64,
}  # fmt: skip
GEMMA = {**SHAPE, "head_dim": 16, "query_pre_attn_scalar": 16}
REFUSED = {
    "architecture": (
        transformers.BloomConfig(hidden_size=64, n_layer=1, n_head=2),
        "BloomForCausalLM cannot be written",
    ),
    "activation": (llama_shape(hidden_act="gelu"), "hidden_act is 'gelu'"),
    "yarn betas": (
        llama_shape(**rope("yarn", original_max_position_embeddings=64, beta_fast=16.0)),
        "beta_fast 32 only",
    ),
    "longrope": (llama_shape(rope_scaling=LONGROPE), "rope scaling 'longrope'"),
    "sliding window": (
        Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=32, max_window_layers=0),
        "sliding-window attention",
    ),
    "output bias": (Qwen3Config(**SHAPE, head_dim=16, attention_bias=True), "attention_bias is True"),
    "attention scale": (
        Gemma3TextConfig(**{**GEMMA, "query_pre_attn_scalar": 64}),
        "query_pre_attn_scalar is 64",
    ),
    "layer kinds": (
        Gemma3TextConfig(**GEMMA, layer_types=["full_attention", "sliding_attention"]),
        "every sixth layer",
    ),
    "inverse layer scaling": (
        GPT2Config(n_embd=64, n_layer=1, n_head=2, n_positions=64, scale_attn_by_inverse_layer_idx=True),
        "scale_attn_by_inverse_layer_idx",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_llama_cpp_would_compute_differently_is_refused(
    name: str, tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    config, message = REFUSED[name]
    config.vocab_size = len(tokenizer)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        write_gguf(tmp_path, tmp_path / "model.gguf", "f32")
    assert "--converter" in str(caught.value)
    assert not (tmp_path / "model.gguf").exists()


def test_more_tokens_than_embeddings_are_refused(
    tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    random_model(llama_shape(vocab_size=100)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="resize_token_embeddings"):
        prepare(tmp_path)
