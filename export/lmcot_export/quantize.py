"""Quantize a GGUF file with llama.cpp's own routine."""

from __future__ import annotations

import ctypes
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.errors import ModelError, OutputError
from lmcot_cli.files import replacing
from lmcot_export.options import QUANTIZED_TYPES

Importance = Mapping[str, NDArray[np.float32]]
"""Mean squared input of every column, by the name of the weight: [columns]."""

NEEDS_IMPORTANCE = frozenset(
    {"iq3_xs", "iq3_xxs", "q2_k_s", "iq2_m", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s"}
)
"""Types that llama.cpp makes only with an importance matrix."""

_SMALL_BLOCKS = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
_SMALL, _LARGE = 32, 256  # weights that share a scale, in a row
_MAX_BUFFER = 64 * 1024 * 1024


def block_size(type: str) -> int:
    """Return how many weights of a row share a scale; rows must be a multiple of it."""
    return _SMALL if type in _SMALL_BLOCKS else _LARGE


def check_rows(source: Path, type: str) -> None:
    """Refuse a type that cannot take the rows of a model.

    llama.cpp itself would use another, larger type for each such matrix.

    Raises:
        ModelError: The message names a matrix and the types that can take it; or the file is no GGUF.
    """
    block = block_size(type)
    matrices = [tensor for tensor in _tensors(source) if _is_quantized(tensor)]
    odd = [tensor for tensor in matrices if int(tensor.shape[0]) % block]
    if not odd:
        return
    lengths = Counter(int(tensor.shape[0]) for tensor in odd)
    fitting = [other for other in QUANTIZED_TYPES if not any(n % block_size(other) for n in lengths)]
    raise ModelError(
        f"{source.name}: {type} takes rows of a multiple of {block} weights, but {len(odd)} of {len(matrices)} matrices"
        f" have others ({odd[0].name}: {odd[0].shape[0]}); choose from {', '.join(fitting) or 'f16, bf16, f32'}"
    )


def _tensors(source: Path) -> list[Any]:
    try:
        return list(gguf.GGUFReader(source).tensors)
    except ValueError as error:
        raise ModelError(f"{source}: cannot be read as GGUF ({error}); export the model again") from error


def quantize(
    source: Path, target: Path, type: str, *, importance: Importance | None = None, threads: int = 1
) -> Path:
    """Write `source` (a full-precision GGUF) to `target` in another type, and return `target`.

    Args:
        source: A file of float32, float16 or bfloat16 weights.
        target: The file, replaced when it is complete.
        type: One of `QUANTIZED_TYPES`, or `f16`.
        importance: What to spend the precision on, by weight.
        threads: Threads that compute.

    Raises:
        ModelError: llama.cpp cannot quantize the file, or not to this type.
        OutputError: The file cannot be written.
    """
    if type in NEEDS_IMPORTANCE and importance is None:
        raise ModelError(
            f"{type} needs an importance matrix, without which it would be of no use; name questions (or a matrix that"
            " llama.cpp's imatrix tool wrote) with --imatrix FILE"
        )
    if type in QUANTIZED_TYPES:
        check_rows(source, type)
    api = llama()  # the same library, its log silenced
    parameters = api.llama_model_quantize_default_params()
    parameters.ftype = _file_type(api, type)
    parameters.nthread = threads
    parameters.max_buf_size = _MAX_BUFFER
    entries = _importance_entries(api, importance) if importance else None
    parameters.imatrix = entries
    with replacing(target) as temporary:
        forget_errors()
        if api.llama_model_quantize(str(source).encode(), str(temporary).encode(), parameters) != 0:
            raise _failure(source, target, type)
    return target


def _file_type(api: Any, type: str) -> int:
    if type == "f32":
        return int(api.LLAMA_FTYPE_ALL_F32)
    return int(getattr(api, f"LLAMA_FTYPE_MOSTLY_{type.upper()}"))


def _is_quantized(tensor: gguf.ReaderTensor) -> bool:
    """Whether llama.cpp quantizes a tensor: matrices of weights, but not position embeddings."""
    return (
        len(tensor.shape) > 1
        and tensor.name.endswith(".weight")
        and not tensor.name.startswith("position_embd")
    )


def _importance_entries(api: Any, importance: Importance) -> Any:
    """Build the array that llama.cpp reads; it ends with an entry without a name."""
    entries = (api.llama_model_imatrix_data * (len(importance) + 1))()
    entries.kept = [np.ascontiguousarray(values, np.float32) for values in importance.values()]
    for entry, name, values in zip(entries, importance, entries.kept, strict=False):
        entry.name = name.encode()
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = values.size
    return entries


def _failure(source: Path, target: Path, type: str) -> Exception:
    if shutil.disk_usage(target.parent).free < source.stat().st_size // 16:
        return OutputError(f"{target}: the disk is full; free some space, or write elsewhere with -o DIR")
    return ModelError(f"{source}: llama.cpp cannot quantize it to {type}: {first_error()}")
