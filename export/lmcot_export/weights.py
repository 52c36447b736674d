"""Read the weights of a model's folder a few rows at a time: memory holds what is asked for and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from lmcot_cli.errors import ModelError
from lmcot_cli.model_files.safetensors_header import StoredTensor, read_safetensors_header
from lmcot_cli.model_files.weights import weight_files

BLOCK_BYTES = 32 * 1024 * 1024
"""Most float32 bytes that streaming holds at once."""

_FULL_PRECISION = ("F64", "F32", "F16", "BF16")


class SafetensorsFolder:
    """The tensors of a folder's `*.safetensors`, one file or several with an index.

    Raises:
        ModelError: There is no such file, or one that is damaged, missing or of a type that cannot be converted.
    """

    def __init__(self, folder: Path, *, single: str = "model.safetensors") -> None:
        self._files: dict[str, Path] = {}
        self._tensors: dict[str, StoredTensor] = {}
        self._opened: dict[Path, Any] = {}
        for file in weight_files(folder, single):
            for name, tensor in read_safetensors_header(file).items():
                _check_type(file, name, tensor)
                self._files[name], self._tensors[name] = file, tensor

    @property
    def names(self) -> Sequence[str]:
        """The tensors' names, in the order of their files."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._tensors[name].shape

    def stored_type(self, name: str) -> str:
        """Return how a tensor is stored: `F32`, `F16`, `BF16` or `F64`."""
        return self._tensors[name].type

    def read(self, name: str) -> NDArray[np.float32]:
        """Return a whole tensor as float32."""
        return _as_float32(self._file(name).get_tensor(name))

    def blocks(self, name: str) -> Iterator[NDArray[np.float32]]:
        """Yield a tensor as float32 in pieces of a few rows, at most `BLOCK_BYTES` each."""
        rows, *others = self.shape(name)
        step = max(1, BLOCK_BYTES // (4 * max(1, prod(others))))
        tensor = self._file(name).get_slice(name)
        for start in range(0, rows, step):
            yield _as_float32(tensor[start : start + step])

    def _file(self, name: str) -> Any:
        file = self._files[name]
        if file not in self._opened:
            self._opened[file] = safe_open(file, framework="pt")  # numpy has no bfloat16
        return self._opened[file]


def _as_float32(tensor: Any) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.float().numpy()
    return values


def _check_type(path: Path, name: str, tensor: StoredTensor) -> None:
    if tensor.type not in _FULL_PRECISION:
        raise ModelError(
            f"{path}: {name} is stored as {tensor.type}; only full-precision weights (F32, F16, BF16) can be exported:"
            " name the model it was quantized from"
        )
