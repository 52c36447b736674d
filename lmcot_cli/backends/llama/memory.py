"""State the peak memory of a run from the model's header and the settings, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.gguf_header import GgufHeader, TensorInfo, read_header
from lmcot_cli.backends.llama.header_checks import check_shape
from lmcot_cli.backends.llama.library import llama
from lmcot_cli.backends.llama.memory_shape import MemoryShape, largest
from lmcot_cli.backends.llama.room import BATCH_TOKENS, plan_room
from lmcot_cli.backends.llama.width import likely_width

PROGRAM = 54_000_000
"""Bytes that Python, numpy and llama.cpp take (measured on Linux, Python 3.11)."""

TOKEN_TEXT = 240
"""Bytes that llama.cpp keeps for a token of the vocabulary (measured at 2,304, 49,152 and 151,936 tokens)."""

CELL_NOTES = 80
"""Bytes in which llama.cpp notes who holds a cell of the KV cache (measured at 131,072 and 261,120 cells)."""

REPACKED_TYPES = frozenset({"Q4_0", "Q4_K", "IQ4_NL"})
"""Weights of which llama.cpp makes a copy in an order of its own, where it was built to repack for the CPU."""

_FLOAT = 4


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak memory by what takes it, in bytes.

    Attributes:
        program: Python and the libraries.
        weights: The model file, which is mapped into memory, and the vocabulary made from it.
        repacked: The copy of the weights that is made for the CPU.
        kv_cache: The KV cache, and the states of recurrent layers.
        compute: What a batch passes through, and the logits that come out and are kept.
    """

    program: int
    weights: int
    repacked: int
    kv_cache: int
    compute: int

    @property
    def total(self) -> int:
        """All together."""
        return self.program + self.weights + self.repacked + self.kv_cache + self.compute


def memory_estimate(path: Path, options: EngineOptions) -> MemoryEstimate:
    """Return what a process that runs this model on the CPU will take; on Linux within a tenth.

    A second model in the same process adds all but `program`.

    Raises:
        UsageError: The budget for the KV cache holds no request.
        ModelError: The file cannot be read, or its header contradicts itself.
    """
    header = read_header(path)
    check_shape(path, header)
    parallel = options.parallel or likely_width(path, options)
    shape = MemoryShape.of(header)
    room = plan_room(shape, header.context_length or BATCH_TOKENS, options, parallel)
    vocabulary = header.vocabulary_size or 0
    # A row of logits for each completion at work, as computed and as handed out, and for each prompt as kept.
    logits = 3 * parallel * vocabulary * _FLOAT
    return MemoryEstimate(
        program=PROGRAM,
        weights=path.stat().st_size + vocabulary * TOKEN_TEXT,
        repacked=sum(tensor.size for tensor in header.tensors if _is_repacked(tensor)),
        kv_cache=room.size + (room.cells * CELL_NOTES if shape.token_values else 0),
        compute=BATCH_TOKENS * _activations(header) * _FLOAT + logits,
    )


def _activations(header: GgufHeader) -> int:
    """Return how many values a token passes through at once."""

    def number(key: str) -> int:
        return largest(header.metadata.get(f"{header.architecture}.{key}", 0))

    return 2 * max(number("feed_forward_length"), number("ssm.inner_size")) + 6 * number("embedding_length")


def _is_repacked(tensor: TensorInfo) -> bool:
    matrix = len(tensor.shape) == 2 and not tensor.name.startswith("token_embd")
    return (
        matrix and tensor.type.name in REPACKED_TYPES and b"REPACK = 1" in llama().llama_print_system_info()
    )
