"""The importance matrix: which inputs of each weight are large on the user's own prompts.

llama.cpp calls back after every operation it computes; where it multiplies by a weight, the squares of the inputs are
added up, column by column. That is what llama.cpp's `imatrix` tool does too, and files are kept in its format, so that
a matrix it wrote can be given instead of questions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from lmcot_cli.backends.base import Request, Role
from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, ModelError
from lmcot_cli.files import replacing
from lmcot_cli.prompts.render import Prompts
from lmcot_export.quantize import Importance
from lmcot_export.roles import CHAIN_STAGES

CHUNK_TOKENS = 512
MAX_TOKENS = 100_000
"""Tokens after which more prompts would change little."""

_SUM, _COUNT = ".in_sum2", ".counts"
_F32 = 0
_MATRIX_TIMES = b"MUL_MAT"


class _Tensor(ctypes.Structure):
    """`struct ggml_tensor`, which has no accessors for its sources; see `_check_layout`."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
    )


@dataclass(slots=True)
class Activations:
    """Sums of squared inputs of a weight.

    Attributes:
        squares: One sum a column, [columns], float64.
        count: How many inputs were added.
    """

    squares: NDArray[np.float64]
    count: int = 0


def importance_of(path: Path, model: Path, kept: Path, *, role: Role, threads: int) -> Importance:
    """Return the importance matrix that a file holds, or that its questions give.

    Args:
        path: Questions in any layout that is read, or a matrix in GGUF (`llama-imatrix -o FILE.gguf`).
        model: A GGUF file to run the prompts through.
        kept: The file that a collected matrix is written to, to be given again.
        role: The role that the model will have, which decides what it is asked.
        threads: Threads that compute.

    Raises:
        InputError: The questions cannot be read.
        ModelError: The matrix is damaged, or the model cannot be run.
    """
    if path.suffix == ".gguf":
        return load(path)
    prompts = Prompts()
    rendered = (prompts.render(CHAIN_STAGES[role], row) for row in _rows(path))
    collected = collect(model, rendered, threads=threads)
    save(kept, collected, datasets=[path.name])
    return means(collected)


def collect(
    model: Path, prompts: Iterable[str], *, threads: int, most: int = MAX_TOKENS
) -> dict[str, Activations]:
    """Run prompts through a model and add up the squared inputs of every weight.

    Args:
        model: A GGUF file.
        prompts: Texts, put into the model's chat template where it has one.
        threads: Threads that compute.
        most: Tokens after which no further prompt is taken.

    Raises:
        ModelError: The model cannot be run, or this build of llama.cpp does not show its activations.
    """
    found: dict[str, Activations] = {}
    with closing(LlamaModel(model)) as loaded, closing(_Watched(loaded, found, threads)) as context:
        for tokens in _chunks(loaded, prompts, min(CHUNK_TOKENS, loaded.trained_context), most):
            context.run(tokens)
    if not found:
        raise ModelError(f"{model}: no weight was used; give questions with --imatrix")
    return found


def means(collected: dict[str, Activations]) -> dict[str, NDArray[np.float32]]:
    """Return mean squares, which is what quantization weighs errors by."""
    return {name: (one.squares / one.count).astype(np.float32) for name, one in collected.items()}


def save(path: Path, collected: dict[str, Activations], datasets: list[str]) -> None:
    """Write a matrix as llama.cpp's `imatrix` tool does.

    Raises:
        OutputError: It cannot be written.
    """
    with replacing(path) as temporary:
        writer = gguf.GGUFWriter(temporary, "")
        writer.add_type("imatrix")
        writer.add_array("imatrix.datasets", datasets)
        writer.add_uint32("imatrix.chunk_count", 1)
        writer.add_uint32("imatrix.chunk_size", CHUNK_TOKENS)
        for name, one in sorted(collected.items()):
            writer.add_tensor(name + _SUM, one.squares.astype(np.float32)[None])
            writer.add_tensor(name + _COUNT, np.array([[one.count]], np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def load(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read the mean squares of a matrix in llama.cpp's GGUF format.

    Raises:
        ModelError: It is no importance matrix.
    """
    try:
        tensors = {tensor.name: np.array(tensor.data, np.float32) for tensor in gguf.GGUFReader(path).tensors}
    except (OSError, ValueError, IndexError) as error:
        raise ModelError(f"{path}: is not a GGUF file, or is damaged") from error
    sums = {name.removesuffix(_SUM): values for name, values in tensors.items() if name.endswith(_SUM)}
    if not sums or any(name + _COUNT not in tensors for name in sums):
        raise ModelError(f"{path}: is no importance matrix; make one with --imatrix QUESTIONS")
    counts = {name: np.maximum(tensors[name + _COUNT].reshape(-1, 1), 1) for name in sums}
    return {
        name: (values.reshape(counts[name].shape[0], -1) / counts[name]).reshape(-1).astype(np.float32)
        for name, values in sums.items()
    }


def _rows(path: Path) -> Iterator[Row]:
    for row in read_rows(path):
        if isinstance(row, BadRow):
            raise InputError(f"{path}:{row.line}: {row.error}")
        yield row


class _Watched:
    """A context that adds up what every weight is multiplied with."""

    def __init__(self, model: LlamaModel, found: dict[str, Activations], threads: int) -> None:
        api = llama()
        self._found = found
        self._error: Exception | None = None
        parameters = api.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = CHUNK_TOKENS
        parameters.type_k = parameters.type_v = _F32
        parameters.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.n_threads = parameters.n_threads_batch = threads
        self._kept = api.ggml_backend_sched_eval_callback(self._watch)  # llama.cpp has a bare pointer only
        parameters.cb_eval = self._kept
        forget_errors()
        self._handle = api.llama_init_from_model(model.handle, parameters)
        if not self._handle:
            raise ModelError(f"{model.path}: no memory to collect an importance matrix: {first_error()}")

    def run(self, tokens: list[int]) -> None:
        """Compute one chunk, from an empty context."""
        api = llama()
        api.llama_memory_clear(api.llama_get_memory(self._handle), False)
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        forget_errors()
        if api.llama_decode(self._handle, api.llama_batch_get_one(ids, len(tokens))) != 0:
            raise ModelError(f"llama.cpp could not compute a prompt: {first_error()}")
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Free the context."""
        llama().llama_free(self._handle)

    def _watch(self, pointer: int, asks: bool, _: Any) -> bool:
        """Select and collect results; llama.cpp calls this, and no exception may pass through it."""
        try:
            tensor = _Tensor.from_address(pointer)
            if asks:
                return _operation(pointer) == _MATRIX_TIMES and _is_weight(tensor)
            self._add(tensor)
        except Exception as error:
            self._error = error
            return False
        return True

    def _add(self, product: _Tensor) -> None:
        weight, inputs = (_Tensor.from_address(product.src[index]) for index in (0, 1))
        columns, rows = inputs.ne[0], inputs.ne[1] * inputs.ne[2] * inputs.ne[3]
        if inputs.type != _F32 or inputs.nb[0] != 4 or inputs.nb[1] != 4 * columns:
            return
        raw = (ctypes.c_float * (columns * rows)).from_address(inputs.data)
        values = np.frombuffer(raw, np.float32).reshape(rows, columns)
        name = weight.name.decode()
        one = self._found.setdefault(name, Activations(np.zeros(columns)))
        one.squares += np.square(values, dtype=np.float64).sum(0)
        one.count += rows


def _chunks(model: LlamaModel, prompts: Iterable[str], size: int, most: int) -> Iterator[list[int]]:
    """Yield the tokens of prompts, at most `size` at once."""
    vocabulary = LlamaVocabulary(model)
    seen = 0
    for prompt in prompts:
        tokens = vocabulary.prompt_tokens(Request(prompt, seed=0))
        yield from (tokens[start : start + size] for start in range(0, len(tokens), size))
        seen += len(tokens)
        if seen >= most:
            return


def _operation(pointer: int) -> bytes:
    """Return the name of the operation that a tensor is the result of, as ggml itself says."""
    return bytes(_ggml().ggml_op_desc(pointer) or b"")


def _is_weight(product: _Tensor) -> bool:
    if not product.src[0] or not product.src[1]:
        return False
    _check_layout(product.src[0])
    return bool(_Tensor.from_address(product.src[0]).name.endswith(b".weight"))


def _check_layout(pointer: int) -> None:
    """Make sure that tensors lie in memory as `_Tensor` says, by what ggml's own accessors return.

    Raises:
        ModelError: They do not.
    """
    tensor, library = _Tensor.from_address(pointer), _ggml()
    name, data = library.ggml_get_name(pointer), library.ggml_get_data(pointer)
    if name != tensor.name or data != tensor.data:
        raise ModelError(
            "this version of llama.cpp lays tensors out in another way, so that activations cannot be read; make the"
            " matrix with llama.cpp's own tool (llama-imatrix -m MODEL -f TEXT -o X.gguf) and give --imatrix X.gguf"
        )


@cache
def _ggml() -> Any:
    """Return the library that has ggml's accessors, with their types declared."""
    import llama_cpp
    from llama_cpp._ctypes_extensions import load_shared_library

    library = load_shared_library("ggml-base", Path(llama_cpp.__file__).parent / "lib")
    accessors = {
        "ggml_op_desc": ctypes.c_char_p,
        "ggml_get_name": ctypes.c_char_p,
        "ggml_get_data": ctypes.c_void_p,
    }
    for name, result in accessors.items():
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_void_p], result
    return library
