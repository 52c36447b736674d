"""Estimate the peak memory of a run from the model's header and the settings, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.header_checks import check_shape
from lmcot_cli.backends.llama.library import llama
from lmcot_cli.backends.llama.memory_shape import MemoryShape, number
from lmcot_cli.backends.llama.room import BATCH_TOKENS, plan_room
from lmcot_cli.backends.llama.width import USUAL, remembered_width
from lmcot_cli.model_files.gguf_header import GgufHeader, TensorInfo, read_header

PROGRAM = 54_000_000
"""Bytes that Python, numpy and llama.cpp take (measured on Linux, Python 3.11)."""

TOKEN_TEXT = 240
"""Bytes that llama.cpp keeps for a token of the vocabulary (measured at 2,304, 49,152 and 151,936 tokens)."""

CELL_NOTES = 80
"""Bytes in which llama.cpp notes the sequences of a cell of the KV cache (measured at 131,072 and 261,120 cells)."""

REPACKED_TYPES = frozenset({"Q4_0", "Q4_K", "IQ4_NL"})
"""Types of weights that llama.cpp copies into its own layout, where it was built to repack for the CPU."""

_FLOAT = 4


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak memory by its use, in bytes.

    Attributes:
        program: Python and the libraries.
        weights: The model file, which is mapped into memory, and the vocabulary made from it.
        repacked: The copy of the weights in the layout for the CPU.
        kv_cache: The KV cache, and the states of recurrent layers.
        compute: The activations of a batch, and its logits.
    """

    program: int
    weights: int
    repacked: int
    kv_cache: int
    compute: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.program + self.weights + self.repacked + self.kv_cache + self.compute


def memory_estimate(path: Path, options: EngineOptions) -> MemoryEstimate:
    """Return the memory of a process that runs this model on the CPU; on Linux accurate to a tenth.

    A second model in the same process adds all but `program`.

    Raises:
        UsageError: The budget for the KV cache holds no request.
        ModelError: The file cannot be read, or its header contradicts itself.
    """
    header = read_header(path)
    check_shape(path, header)
    parallel = options.parallel or remembered_width(path, options) or USUAL
    shape = MemoryShape.of(header)
    room = plan_room(shape, header.context_length or BATCH_TOKENS, options, parallel)
    vocabulary = header.vocabulary_size or 0
    # Logits of each completion in progress, as computed and as returned, and of each prompt, as kept.
    logits = 3 * parallel * vocabulary * _FLOAT
    return MemoryEstimate(
        program=PROGRAM,
        weights=path.stat().st_size + vocabulary * TOKEN_TEXT,
        repacked=sum(tensor.size for tensor in header.tensors if _is_repacked(tensor)),
        kv_cache=room.size + (room.cells * CELL_NOTES if shape.token_values else 0),
        compute=BATCH_TOKENS * _activations(header) * _FLOAT + logits,
    )


def _activations(header: GgufHeader) -> int:
    """Return how many values a token takes at once."""
    widest = max(number(header, "feed_forward_length"), number(header, "ssm.inner_size"))
    return 2 * widest + 6 * number(header, "embedding_length")


def _is_repacked(tensor: TensorInfo) -> bool:
    matrix = len(tensor.shape) == 2 and not tensor.name.startswith("token_embd")
    return (
        matrix and tensor.type.name in REPACKED_TYPES and b"REPACK = 1" in llama().llama_print_system_info()
    )
