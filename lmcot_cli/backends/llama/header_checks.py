"""Refuse headers that are well-formed but describe no model: some make llama.cpp end the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from lmcot_cli.backends.llama.memory_shape import has_attention, has_state, layer_tensors
from lmcot_cli.errors import ModelError
from lmcot_cli.model_files.gguf_header import GgufHeader

MAX_LAYERS = 512
"""Maximum layers of llama.cpp (LLAMA_MAX_LAYERS)."""

MAX_HEADS = 4096

MAX_CONTEXT = 1 << 27
"""Maximum tokens of context; the longest known are some ten million."""

STATE_SIZES = {
    "ssm.conv_kernel": 1 << 10,
    "ssm.inner_size": 1 << 20,
    "ssm.state_size": 1 << 16,
    "ssm.group_count": 1 << 16,
    "shortconv.l_cache": 1 << 10,
    "wkv.head_size": 1 << 16,
    "token_shift_count": 1 << 10,
}
"""Maximum sizes in a recurrent layer."""


def check_shape(path: Path, header: GgufHeader) -> None:
    """Check the shape that a header states against its tensors and against itself.

    Raises:
        ModelError: Names the first contradiction.
    """
    for contradiction in chain(_number_faults(header), _layer_faults(header), _vocabulary_faults(header)):
        raise ModelError(f"{path}: damaged GGUF header ({contradiction}); download or export it again")


def _number_faults(header: GgufHeader) -> Iterator[str]:
    """Yield the numbers that are out of range."""
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
        value = header.setting(name)
        lowest = 0 if isinstance(value, list) or name.startswith(absent) else 1  # some layers have none
        for number in value if isinstance(value, list) else [value]:
            if value is not None and not _within(number, lowest, highest):
                yield f"{header.architecture}.{name} is {number!r}"
    for name in ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"):
        epsilon = header.setting(name, 0.0)
        if not (isinstance(epsilon, float) and 0 <= epsilon < 1):
            yield f"{header.architecture}.{name} is {epsilon!r}"


def _absent_parts(header: GgufHeader) -> tuple[str, ...]:
    """Return the beginnings of the numbers that may be 0: converters write 0 for what Mamba does not have."""
    layers = layer_tensors(header).values()
    parts = ["expert", *STATE_SIZES]
    if any(map(has_state, layers)):
        parts += ["feed_forward_length"] + ([] if any(map(has_attention, layers)) else ["attention."])
    return tuple(parts)


def _within(number: Any, lowest: int, highest: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and lowest <= number <= highest


def _layer_faults(header: GgufHeader) -> Iterator[str]:
    """Check the number of layers against the tensors."""
    layers = layer_tensors(header)
    count = header.setting("block_count")
    if layers and isinstance(count, int) and count > max(layers) + 1:
        yield f"{count} layers, but tensors for {max(layers) + 1}"


def _vocabulary_faults(header: GgufHeader) -> Iterator[str]:
    """Check the embedding's shape against the model's width and the vocabulary, and that no token occurs twice."""
    size = header.vocabulary_size
    embedding = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    width = header.setting("embedding_length")
    if embedding and len(embedding.shape) == 2:
        if width is not None and embedding.shape[0] != width:
            yield f"width {width}, but an embedding of {embedding.shape[0]}"
        if size is not None and embedding.shape[1] < size:
            yield f"{size} tokens, but {embedding.shape[1]} embeddings"
    if (repeated := _repeated_token(header.metadata.get("tokenizer.ggml.tokens"))) is not None:
        yield f"token {repeated} occurs twice in tokenizer.ggml.tokens"
    for key in ("scores", "token_type"):
        listed = header.metadata.get(f"tokenizer.ggml.{key}")
        if size is not None and isinstance(listed, list) and len(listed) < size:
            yield f"{size} tokens, but {len(listed)} in tokenizer.ggml.{key}"


def _repeated_token(tokens: object) -> int | None:
    """Return the first id whose text occurred before, as llama.cpp reads texts: up to a NUL, with a name if empty."""
    seen: set[str] = set()
    for number, token in enumerate(tokens if isinstance(tokens, list) else []):
        text = str(token).partition("\0")[0] or f"[EMPTY_{number}]"
        if text in seen:
            return number
        seen.add(text)
    return None
