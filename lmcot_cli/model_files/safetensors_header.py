"""Read the header of a safetensors file, and check that every byte after it belongs to exactly one tensor.

A file is a length (8 bytes, little-endian), a JSON header of that length, and the tensors' bytes without a gap. The
library makes similar checks, but parses headers of up to 100 MB, and its errors differ from caller to caller.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from lmcot_cli.errors import ModelError

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""Room for about a hundred thousand tensors; parsed, JSON of this size takes up to 400 MB."""

MAX_DIMENSIONS = 16

BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits per value of each type."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        type: The type of its values, a key of `BITS`.
        shape: Its shape.
        offset: Its first byte in the file.
        size: Its size in bytes.
    """

    type: str
    shape: tuple[int, ...]
    offset: int
    size: int


def read_safetensors_header(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file by their names.

    Raises:
        ModelError: The header is damaged, too large, or contradicts itself or the file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES < size:
                raise _damaged(path, f"it states a header of {length:,} bytes, over {MAX_HEADER_BYTES:,}")
            if not 2 <= length <= size - 8:
                raise _damaged(path, f"it states a header of {length:,} bytes, in a file of {size:,}")
            header = _parsed(path, file.read(length))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    tensors = {name: _stored(path, name, entry, 8 + length) for name, entry in header.items()}
    _check_cover(path, tensors, 8 + length, size)
    return tensors


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    """Parse a header; the library refuses a repeated name, so Python must not take the last one."""
    try:
        header: Any = json.loads(text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error) or "it is nested too deeply") from error
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "it is no object of tensors, with texts as its metadata")
    return dict(header)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a name occurs twice")
    return record


def _stored(path: Path, name: str, entry: Any, data: int) -> StoredTensor:
    named = f"at {name[:100]!r}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, named)
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2 or len(shape) > MAX_DIMENSIONS:
        raise _damaged(path, named)
    if not isinstance(kind, str) or kind not in BITS:
        raise _damaged(path, f"{named}: there is no type {str(kind)[:20]}")
    begin, end = offsets
    if (end - begin) * 8 != prod(shape) * BITS[kind]:
        raise _damaged(path, f"{named}: its shape and type do not make its {end - begin:,} bytes")
    return StoredTensor(kind, tuple(shape), data + begin, end - begin)


def _check_cover(path: Path, tensors: Mapping[str, StoredTensor], begin: int, size: int) -> None:
    """Check that the tensors cover the file from the header to its end, without overlap or gap."""
    at = begin
    for name, tensor in sorted(tensors.items(), key=lambda entry: (entry[1].offset, entry[1].size)):
        if tensor.offset != at:
            raise _damaged(path, f"at {name[:100]!r}: its bytes overlap another's, or leave a gap")
        at += tensor.size
    if at != size:
        raise ModelError(f"{path}: has {size:,} bytes of {at:,}; if it is damaged, fetch or save it anew")


def _are_counts(value: object) -> bool:
    """Return whether a value is a list of numbers from 0 to 2^63; true and false are not numbers."""
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 1 << 63 for number in value)


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path}: its header is damaged ({reason}); fetch or save it anew")
