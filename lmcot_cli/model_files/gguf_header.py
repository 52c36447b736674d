"""Read the header of a GGUF file: what the model is, and whether the file is whole, without loading its weights.

llama.cpp reports a damaged file as a bare failure to load, or aborts; here it is a `ModelError` that says what is
wrong. The layout is GGUF versions 2 and 3, little-endian: magic, version, counts, key-value pairs, tensor infos,
padding, tensor data.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from lmcot_cli.errors import ModelError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_COUNT = 1 << 20
"""Maximum tensors or keys; a higher count is a damaged one."""

_SCALARS = dict(enumerate(("<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?"))) | {10: "<Q", 11: "<q", 12: "<d"}
"""Types of values by their numbers, as `struct` writes them."""

_STRING, _ARRAY = 8, 9

SPLIT_COUNT, SPLIT_NUMBER = "split.count", "split.no"
"""The number of files that a model was split into, and which of them this is, from 0."""


class TensorType(NamedTuple):
    """How a type of tensor packs its values: `block` values in `size` bytes."""

    name: str
    block: int
    size: int


TENSOR_TYPES = {
    number: TensorType(name, block, size)
    for number, name, block, size in (
        (0, "F32", 1, 4), (1, "F16", 1, 2), (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20), (6, "Q5_0", 32, 22),
        (7, "Q5_1", 32, 24), (8, "Q8_0", 32, 34), (9, "Q8_1", 32, 40), (10, "Q2_K", 256, 84),
        (11, "Q3_K", 256, 110), (12, "Q4_K", 256, 144), (13, "Q5_K", 256, 176), (14, "Q6_K", 256, 210),
        (15, "Q8_K", 256, 292), (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74), (18, "IQ3_XXS", 256, 98),
        (19, "IQ1_S", 256, 50), (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110), (22, "IQ2_S", 256, 82),
        (23, "IQ4_XS", 256, 136), (24, "I8", 1, 1), (25, "I16", 1, 2), (26, "I32", 1, 4), (27, "I64", 1, 8),
        (28, "F64", 1, 8), (29, "IQ1_M", 256, 56), (30, "BF16", 1, 2), (34, "TQ1_0", 256, 54),
        (35, "TQ2_0", 256, 66), (39, "MXFP4", 32, 17), (40, "NVFP4", 64, 36), (41, "Q1_0", 128, 18),
    )
}  # fmt: skip

# `general.file_type`: what the writer calls the mixture of tensor types (llama.cpp's `llama_ftype`).
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: its shape (fastest dimension first), type, and offset in the data section in bytes."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int

    @property
    def values(self) -> int:
        """Number of its values."""
        return prod(self.shape)

    @property
    def size(self) -> int:
        """Its size in the file in bytes, without padding."""
        return -(-self.values // self.type.block) * self.type.size


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself.

    Attributes:
        metadata: Every key with its value; arrays are lists.
        tensors: The tensor infos, in file order.
    """

    version: int
    metadata: dict[str, Any]
    tensors: tuple[TensorInfo, ...]

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture (`llama`, `qwen2`, ...)."""
        return str(self.metadata["general.architecture"])

    def setting(self, name: str, default: Any = None) -> Any:
        """Return the value of `ARCHITECTURE.name`, such as `llama.block_count`."""
        return self.metadata.get(f"{self.architecture}.{name}", default)

    @property
    def name(self) -> str | None:
        """The name of the model, if the file states one."""
        return self._text("general.name")

    @property
    def parameters(self) -> int:
        """Number of weights in all tensors."""
        return sum(tensor.values for tensor in self.tensors)

    @property
    def context_length(self) -> int | None:
        """Tokens of context the model was trained for."""
        length = self.setting("context_length")
        return length if isinstance(length, int) else None

    @property
    def quantization(self) -> str:
        """The file type that the writer stated, else the type of most weights."""
        named = self.metadata.get("general.file_type")
        if isinstance(named, int) and named in FILE_TYPES:
            return FILE_TYPES[named]
        weights: Counter[str] = Counter()
        for tensor in self.tensors:
            weights[tensor.type.name] += tensor.values
        return weights.most_common(1)[0][0] if weights else "none"

    @property
    def vocabulary_size(self) -> int | None:
        """Number of tokens, if the file has a tokenizer."""
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        return len(tokens) if isinstance(tokens, list) else None

    @property
    def tokenizer(self) -> str | None:
        """Kind of tokenizer and its pre-tokenizer (`gpt2/smollm`), if the file has one."""
        parts = [self._text("tokenizer.ggml.model"), self._text("tokenizer.ggml.pre")]
        return "/".join(part for part in parts if part) or None

    @property
    def chat_template(self) -> str | None:
        """The embedded chat template (Jinja2), if any."""
        return self._text("tokenizer.chat_template")

    def _text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None


def check_gguf(path: Path) -> None:
    """Name the everyday mistakes, before a library sees the file.

    Raises:
        ModelError: There is no GGUF file there.
    """
    if path.is_dir():
        raise ModelError(f"{path}: is a folder; name the .gguf file in it")
    if not path.exists():
        raise ModelError(f"{path}: no such model file; check the path, or see `lmcot models list`")
    if not path.is_file():  # a pipe would be waited for
        raise ModelError(f"{path}: is not a file but a pipe or a device; name a .gguf model")
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if start != MAGIC:
        raise ModelError(f"{path}: is not a GGUF file (it does not start with {MAGIC!r}); name a .gguf model")


def read_header(path: Path, *, later_part: bool = False) -> GgufHeader:
    """Read and check the header of `path`.

    Args:
        path: The file.
        later_part: Whether it is a later part of a split model, whose header states only which part it is.

    Raises:
        ModelError: The file cannot be opened, is no GGUF file, is truncated, or its header contradicts itself.
    """
    check_gguf(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(data, path, later_part)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error


def _parse(data: mmap.mmap, path: Path, later_part: bool) -> GgufHeader:
    cursor = _Cursor(data, path, len(MAGIC))
    version = cursor.scalar("<I")
    if version not in VERSIONS:
        raise ModelError(f"{path}: GGUF version {version} is not supported (2 and 3, little-endian, are)")
    tensor_count, key_count = cursor.count("<Q"), cursor.count("<Q")
    metadata: dict[str, Any] = {}
    for _ in range(key_count):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.scalar("<I"))
    tensors = tuple(cursor.tensor() for _ in range(tensor_count))
    if metadata.get(SPLIT_NUMBER, 0) != 0 and not later_part:
        raise ModelError(
            f"{path}: is a later part of a split model; name the first, NAME-00001-of-NNNNN.gguf, with the others"
            " beside it"
        )
    if not isinstance(metadata.get("general.architecture"), str) and not later_part:
        raise ModelError(f"{path}: damaged GGUF header (no general.architecture)")
    _check_whole(path, len(data), cursor.at, metadata, tensors)
    return GgufHeader(version, metadata, tensors)


def _check_whole(
    path: Path, file_size: int, header_size: int, metadata: dict[str, Any], tensors: tuple[TensorInfo, ...]
) -> None:
    """Compare the file's size with the end of its last tensor."""
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise ModelError(f"{path}: damaged GGUF header (alignment {alignment!r} is no power of two)")
    start = -(-header_size // alignment) * alignment
    end = start + max((tensor.offset + tensor.size for tensor in tensors), default=0)
    if tensors and file_size < end:
        raise ModelError(
            f"{path}: truncated GGUF file ({file_size:,} bytes of {end:,}); download or copy it again"
        )


class _Cursor:
    """A position in the mapped file; every read checks that the file is long enough."""

    def __init__(self, data: mmap.mmap, path: Path, at: int) -> None:
        self.data, self.path, self.at = data, path, at

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise ModelError(
                f"{self.path}: truncated GGUF file: it ends inside its header; download or copy it again"
            )
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def scalar(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self, form: str) -> int:
        number = int(self.scalar(form))
        if number > MAX_COUNT:
            raise self.damaged(f"a count of {number:,}")
        return number

    def string(self, errors: str = "replace") -> str:
        # Token texts may contain halves of UTF-8 sequences, so nothing is refused here.
        return self.take(self.scalar("<Q")).decode("utf-8", errors)

    def value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array()
        raise self.damaged(f"value type {kind}")

    def array(self) -> list[Any]:
        kind, length = self.scalar("<I"), self.scalar("<Q")
        if kind in _SCALARS:
            form = _SCALARS[kind]
            return [item for (item,) in struct.iter_unpack(form, self.take(length * struct.calcsize(form)))]
        if kind == _STRING:
            # Tokens that differ only in such halves must stay different.
            return [self.string("surrogateescape") for _ in range(length)]
        raise self.damaged(f"an array of type {kind}")

    def tensor(self) -> TensorInfo:
        name, dimensions = self.string(), self.scalar("<I")
        if dimensions > 4:
            raise self.damaged(f"tensor {name!r} of {dimensions} dimensions")
        shape = tuple(self.scalar("<Q") for _ in range(dimensions))
        number = self.scalar("<I")
        if number not in TENSOR_TYPES:
            raise self.damaged(f"tensor {name!r} of type {number}")
        return TensorInfo(name, shape, TENSOR_TYPES[number], self.scalar("<Q"))

    def damaged(self, what: str) -> ModelError:
        return ModelError(f"{self.path}: damaged GGUF header ({what} at byte {self.at:,})")
