"""The sizes of well-known models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ShapeName = Literal["135m", "360m", "500m"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a decoder-only network with tied embeddings.

    Attributes:
        model: The published model that has this shape.
        architecture: llama.cpp's name of the family; `qwen2` has biases on queries, keys and values.
        width, feed_forward: Of a layer.
        heads, kv_heads: Of its attention.
        vocabulary: Tokens.
        context: Tokens it is said to have been trained with.
        rope_base, norm_epsilon: Of the positions and the normalisation.
    """

    model: str
    architecture: Literal["llama", "qwen2"]
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    rope_base: float
    norm_epsilon: float


SHAPES: dict[ShapeName, Shape] = {
    "135m": Shape("SmolLM2-135M", "llama", 30, 576, 1536, 9, 3, 49_152, 8_192, 1e5, 1e-5),
    "360m": Shape("SmolLM2-360M", "llama", 32, 960, 2560, 15, 5, 49_152, 8_192, 1e5, 1e-5),
    "500m": Shape("Qwen2.5-0.5B", "qwen2", 24, 896, 4864, 14, 2, 151_936, 32_768, 1e6, 1e-6),
}
"""As in the models' own config.json."""
