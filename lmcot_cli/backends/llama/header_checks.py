"""Refuse headers that are well-formed and yet describe no model: llama.cpp ends the whole process on some."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from lmcot_cli.backends.llama.gguf_header import GgufHeader
from lmcot_cli.backends.llama.memory_shape import has_attention, has_state, layer_tensors
from lmcot_cli.errors import ModelError

MAX_LAYERS = 512
"""Most layers llama.cpp knows (LLAMA_MAX_LAYERS)."""

MAX_HEADS = 4096

MAX_CONTEXT = 1 << 27
"""More tokens of context than this are a damaged number; the longest known are some ten million."""

STATE_SIZES = {
    "ssm.conv_kernel": 1 << 10,
    "ssm.inner_size": 1 << 20,
    "ssm.state_size": 1 << 16,
    "ssm.group_count": 1 << 16,
    "shortconv.l_cache": 1 << 10,
    "wkv.head_size": 1 << 16,
    "token_shift_count": 1 << 10,
}
"""Highest sizes of what a recurrent layer keeps."""


def check_shape(path: Path, header: GgufHeader) -> None:
    """Compare what a header says of the model's shape with its tensors and with itself.

    Raises:
        ModelError: Names the first contradiction.
    """
    for contradiction in chain(_number_faults(header), _layer_faults(header), _vocabulary_faults(header)):
        raise ModelError(f"{path}: damaged GGUF header ({contradiction}); download or export it again")


def _number_faults(header: GgufHeader) -> Iterator[str]:
    """Find numbers that are out of any range."""
    bounds = {
        "block_count": MAX_LAYERS,
        "context_length": MAX_CONTEXT,
        "embedding_length": 1 << 20,
        "feed_forward_length": 1 << 24,
        "attention.head_count": MAX_HEADS,
        "attention.head_count_kv": MAX_HEADS,
        "attention.key_length": 1 << 16,
        "attention.value_length": 1 << 16,
        "rope.dimension_count": 1 << 16,
        "expert_count": 1024,
        "expert_used_count": 1024,
        **STATE_SIZES,
    }
    absent = _absent_parts(header)
    for name, highest in bounds.items():
        key = f"{header.architecture}.{name}"
        value = header.metadata.get(key)
        lowest = 0 if isinstance(value, list) or name.startswith(absent) else 1  # some layers have none
        for number in value if isinstance(value, list) else [value]:
            if value is not None and not _within(number, lowest, highest):
                yield f"{key} is {number!r}"
    for name in ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"):
        epsilon = header.metadata.get(f"{header.architecture}.{name}", 0.0)
        if not (isinstance(epsilon, float) and 0 <= epsilon < 1):
            yield f"{header.architecture}.{name} is {epsilon!r}"


def _absent_parts(header: GgufHeader) -> tuple[str, ...]:
    """Return how the numbers begin that may be 0: converters write what Mamba has not as 0."""
    layers = layer_tensors(header).values()
    parts = ["expert", *STATE_SIZES]
    if any(map(has_state, layers)):
        parts += (
            ["feed_forward_length"]
            if any(map(has_attention, layers))
            else ["feed_forward_length", "attention."]
        )
    return tuple(parts)


def _within(number: Any, lowest: int, highest: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and lowest <= number <= highest


def _layer_faults(header: GgufHeader) -> Iterator[str]:
    """Compare the number of layers with those there are tensors for."""
    layers = layer_tensors(header)
    count = header.metadata.get(f"{header.architecture}.block_count")
    if layers and isinstance(count, int) and count > max(layers) + 1:
        yield f"{count} layers, but tensors for {max(layers) + 1}"


def _vocabulary_faults(header: GgufHeader) -> Iterator[str]:
    """Compare the embedding's shape with the model's width and with the vocabulary, and tokens with their ids."""
    size = header.vocabulary_size
    embedding = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    width = header.metadata.get(f"{header.architecture}.embedding_length")
    if embedding and len(embedding.shape) == 2:
        if width is not None and embedding.shape[0] != width:
            yield f"width {width}, but an embedding of {embedding.shape[0]}"
        if size is not None and embedding.shape[1] < size:
            yield f"{size} tokens, but {embedding.shape[1]} embeddings"
    if (twice := _token_that_stands_twice(header.metadata.get("tokenizer.ggml.tokens"))) is not None:
        yield f"token {twice} stands twice in tokenizer.ggml.tokens"
    for key in ("scores", "token_type"):
        listed = header.metadata.get(f"tokenizer.ggml.{key}")
        if size is not None and isinstance(listed, list) and len(listed) < size:
            yield f"{size} tokens, but {len(listed)} in tokenizer.ggml.{key}"


def _token_that_stands_twice(tokens: object) -> int | None:
    """Return the first id whose text an earlier one has, as llama.cpp reads them: up to a NUL, named if empty."""
    seen: set[str] = set()
    for number, token in enumerate(tokens if isinstance(tokens, list) else []):
        text = str(token).partition("\0")[0] or f"[EMPTY_{number}]"
        if text in seen:
            return number
        seen.add(text)
    return None
