"""Read and write safetensors files tensor by tensor, without mapping or holding whole files.

`safetensors` itself maps files into memory, whose pages then count as the process's own, and its numpy side has no
bfloat16. The format is a length, a JSON header and raw bytes, so it is read here directly: memory holds what is asked
for and no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lmcot_cli.errors import ModelError
from lmcot_cli.files import replacing
from lmcot_cli.model_files.safetensors_header import StoredTensor, read_safetensors_header
from lmcot_cli.model_files.weights import weight_files

BLOCK_BYTES = 32 * 1024 * 1024
"""Most float32 bytes that streaming holds at once."""

STORED: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
"""What numpy reads each stored type as; bfloat16 as its bits."""


class Weights(Protocol):
    """Named tensors that are read when they are asked for."""

    @property
    def names(self) -> Sequence[str]:
        """The tensors' names, in the order of their files."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        ...

    def stored_type(self, name: str) -> str:
        """Return how a tensor is stored: `F32`, `F16`, `BF16` or `F64`."""
        ...

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Read rows [start, stop) along the first axis."""
        ...


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where a tensor lies."""

    file: Path
    type: str
    shape: tuple[int, ...]
    offset: int


class SafetensorsFolder:
    """The tensors of a folder's `*.safetensors`, one file or several with an index.

    Raises:
        ModelError: There is no such file, or one that is damaged, missing or of a type that cannot be converted.
    """

    def __init__(self, folder: Path, *, single: str = "model.safetensors") -> None:
        self.files = weight_files(folder, single)
        self._stored = {
            name: _stored(file, name, tensor)
            for file in self.files
            for name, tensor in read_safetensors_header(file).items()
        }

    @property
    def names(self) -> Sequence[str]:
        """The tensors' names, in the order of their files."""
        return list(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._stored[name].shape

    def stored_type(self, name: str) -> str:
        """Return how a tensor is stored."""
        return self._stored[name].type

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Read rows [start, stop) along the first axis, as float32."""
        stored = self._stored[name]
        dtype = STORED[stored.type]
        row = prod(stored.shape[1:])
        with stored.file.open("rb") as file:
            file.seek(stored.offset + start * row * dtype.itemsize)
            raw = np.fromfile(file, dtype, (stop - start) * row)
        if raw.size != (stop - start) * row:
            raise ModelError(f"{stored.file}: ends within {name}; copy or download it again")
        return _as_float32(raw, stored.type).reshape(stop - start, *stored.shape[1:])


def read(weights: Weights, name: str) -> NDArray[np.float32]:
    """Read a whole tensor as float32."""
    shape = weights.shape(name)
    return weights.rows(name, 0, shape[0]) if shape else weights.rows(name, 0, 1).reshape(())


def blocks(weights: Weights, name: str) -> Iterator[NDArray[np.float32]]:
    """Read a tensor piece by piece, a few rows (at most `BLOCK_BYTES`) at a time."""
    shape = weights.shape(name)
    step = max(1, BLOCK_BYTES // (4 * max(1, prod(shape[1:]))))
    for start in range(0, shape[0], step):
        yield weights.rows(name, start, min(start + step, shape[0]))


def write_safetensors(
    path: Path, weights: Weights, types: Mapping[str, str], advance: Callable[[int], None] = lambda _: None
) -> None:
    """Write tensors to one safetensors file, a few rows at a time.

    Args:
        path: The file, replaced when it is complete.
        weights: What to write.
        types: How each tensor is to be stored; its keys are the tensors that are written, in that order.
        advance: Called with the number of bytes after each piece.

    Raises:
        OutputError: The file cannot be written.
    """
    header, end = {}, 0
    for name, stored in types.items():
        shape = weights.shape(name)
        begin, end = end, end + prod(shape) * STORED[stored].itemsize
        header[name] = {"dtype": stored, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, stored in types.items():
            for block in blocks(weights, name):
                raw = _from_float32(block, stored)
                file.write(raw.data)
                advance(raw.nbytes)


def bfloat16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to the bits of bfloat16, ties to even; NaN stays NaN (as ggml's conversion)."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(64)
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


def _as_float32(raw: NDArray[np.generic], stored: str) -> NDArray[np.float32]:
    if stored == "BF16":
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return raw.astype(np.float32, copy=False)


def _from_float32(values: NDArray[np.float32], stored: str) -> NDArray[np.generic]:
    if stored == "BF16":
        return bfloat16_bits(values)
    return np.ascontiguousarray(values.astype(STORED[stored], copy=False))


def _stored(path: Path, name: str, tensor: StoredTensor) -> _Stored:
    if tensor.type not in STORED:
        raise ModelError(
            f"{path}: {name} is stored as {tensor.type}; only full-precision weights (F32, F16, BF16) can be exported:"
            " name the model it was quantized from"
        )
    return _Stored(path, tensor.type, tensor.shape, tensor.offset)
