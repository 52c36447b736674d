"""The tensors of a GGUF file, computed from the model's weights while the file is written.

`gguf.GGUFWriter` keeps every tensor until it writes them all; it asks of a tensor only its shape, type and size, and
to write itself to a file. `StreamedTensor` answers that without holding the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

import gguf
import numpy as np
from numpy.typing import NDArray

from lmcot_cli.errors import ModelError
from lmcot_export.gguf import rope
from lmcot_export.gguf.config import ModelConfig
from lmcot_export.gguf.families import Array, Family
from lmcot_export.weights import SafetensorsFolder

FileType = str
"""`f32`, `f16` or `bf16`: how matrices are stored; vectors and position embeddings are float32 always."""

_NUMPY: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(np.uint16),
}
_GGML = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
}


@dataclass(frozen=True, slots=True)
class StreamedTensor:
    """A tensor that is read, converted and written a few rows at a time.

    Attributes:
        shape: As numpy orders it, rows first.
        type: How its numbers are stored.
        parts: Yields its rows, in order.
        advance: Called with the bytes of each part once written.
    """

    shape: tuple[int, ...]
    type: FileType
    parts: Callable[[], Iterator[Array]]
    advance: Callable[[int], None]

    @property
    def dtype(self) -> np.dtype[Any]:
        """What numpy calls the stored type; bfloat16 is carried as its bits."""
        return _NUMPY[self.type]

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return prod(self.shape) * self.dtype.itemsize

    def tofile(self, file: BinaryIO) -> None:
        """Write all rows."""
        for part in self.parts():
            raw = _stored(part, self.type)
            file.write(raw.data)
            self.advance(raw.nbytes)


def add_tensors(
    writer: gguf.GGUFWriter,
    weights: SafetensorsFolder,
    config: ModelConfig,
    family: Family,
    type: FileType,
    advance: Callable[[int], None],
) -> None:
    """Announce every tensor of the model to the writer.

    Raises:
        ModelError: A tensor whose name the architecture has no place for.
    """
    factors = rope.frequency_factors(config)
    if factors is not None:
        writer.add_tensor(gguf.TENSOR_NAMES[gguf.MODEL_TENSOR.ROPE_FREQS] + ".weight", factors)
    names = gguf.get_tensor_name_map(family.architecture, config.layers)
    for name in weights.names:
        if name.endswith(family.unused) or (config.tied and name == "lm_head.weight"):
            continue
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ModelError(
                f"{config.folder}: {config.architecture} has no place for a tensor called {name}; if a LoRA adapter was"
                " saved into the model, merge it first"
            )
        tensor = _streamed(
            weights, name, config, family, _stored_type(target, weights.shape(name), type), advance
        )
        writer.add_tensor(target, tensor, raw_dtype=_GGML[tensor.type])


def _streamed(
    weights: SafetensorsFolder,
    name: str,
    config: ModelConfig,
    family: Family,
    type: FileType,
    advance: Callable[[int], None],
) -> StreamedTensor:
    transform = family.transform(name, config)
    shape = weights.shape(name)
    if transform is None:
        return StreamedTensor(shape, type, lambda: weights.blocks(name), advance)
    turned = transform(np.empty(shape, np.float32)).shape if len(shape) > 1 else shape
    return StreamedTensor(turned, type, lambda: iter([transform(weights.read(name))]), advance)


def _stored_type(target: str, shape: tuple[int, ...], type: FileType) -> FileType:
    """Return the type of one tensor: llama.cpp wants vectors, norms and position embeddings in float32."""
    positions = gguf.TENSOR_NAMES[gguf.MODEL_TENSOR.POS_EMBD]
    keeps_float32 = len(shape) <= 1 or target.endswith("_norm.weight") or target.startswith(positions)
    return "f32" if keeps_float32 else type


def _stored(part: Array, type: FileType) -> NDArray[Any]:
    if type == "bf16":
        bits: NDArray[Any] = gguf.quantize(part, gguf.GGMLQuantizationType.BF16).view(np.uint16)
        return bits
    with np.errstate(over="ignore"):
        raw = np.ascontiguousarray(part.astype(_NUMPY[type], copy=False))
    if type == "f16" and np.isinf(raw).any() and not np.isinf(part).any():
        raise ModelError("the model has weights beyond 65,504, which f16 cannot hold; choose bf16 or f32")
    return raw
