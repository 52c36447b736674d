"""Stand between llama.cpp and whoever calls it: time its decoding, and record what it is asked to do.

The engine reaches llama.cpp through the attributes of one module; here some of them are replaced for a while.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from lmcot_cli.backends.llama.library import llama
from lmcot_cli.backends.vocabulary import Vocabulary
from lmcot_cli.errors import ModelError

MEMORY_CALLS = (
    "llama_memory_clear",
    "llama_memory_seq_rm",
    "llama_memory_seq_cp",
    "llama_memory_seq_keep",
    "llama_memory_seq_add",
    "llama_memory_seq_div",
)
"""What changes the KV cache besides decoding."""


@contextmanager
def replaced(name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let a function of llama.cpp's Python module be another one meanwhile."""
    modules = (llama(), llama().llama_cpp)  # the package repeats what its inner module defines
    original = getattr(modules[1], name)
    try:
        for module in modules:
            setattr(module, name, function)
        yield
    finally:
        for module in modules:
            setattr(module, name, original)


@contextmanager
def texts_never_end() -> Iterator[None]:
    """Let no token end a text, so that every completion takes as many tokens as were asked for."""
    owner, name = Vocabulary, "ends"
    original = vars(owner)[name]
    with replaced("llama_vocab_is_eog", lambda vocabulary, token: False):
        setattr(owner, name, frozenset())
        try:
            yield
        finally:
            setattr(owner, name, original)


class DecodeTimer:
    """`llama_decode` with a stop-watch.

    Attributes:
        seconds: Spent in it so far, on a GPU too.
    """

    def __init__(self) -> None:
        self._decode = llama().llama_decode
        self._synchronize = llama().llama_synchronize
        self.seconds = 0.0

    def __call__(self, context: Any, batch: Any) -> int:
        """Decode a batch; where a GPU works on it meanwhile, wait until it is done."""
        start = perf_counter()
        status: int = self._decode(context, batch)
        self._synchronize(context)
        self.seconds += perf_counter() - start
        return status


@dataclass
class Trace:
    """What was asked of one llama.cpp context.

    Attributes:
        context: The context; None as long as nothing was decoded.
        calls: Each call that changed it, with arguments of its own.
        tokens: Tokens decoded.
    """

    context: Any = None
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = field(default_factory=list)
    tokens: int = 0

    def replay(self) -> float:
        """Ask the same again of the same context, with nothing around it, and return the seconds it took.

        Raises:
            ModelError: llama.cpp could not compute a batch.
        """
        decode = llama().llama_decode
        self.clear()
        start = perf_counter()
        for call, arguments in self.calls:
            if call(*arguments) and call is decode:  # the memory calls return no status
                raise ModelError("llama.cpp could not decode a recorded batch again")
        llama().llama_synchronize(self.context)
        return perf_counter() - start

    def clear(self) -> None:
        """Empty the context's cache."""
        llama().llama_memory_clear(llama().llama_get_memory(self.context), False)


@contextmanager
def recorded() -> Iterator[Trace]:
    """Record what is asked of llama.cpp meanwhile."""
    trace = Trace()
    with ExitStack() as stack:
        stack.enter_context(replaced("llama_decode", _recording_decode(trace)))
        for name in MEMORY_CALLS:
            stack.enter_context(replaced(name, _recording(trace, name)))
        yield trace


def _recording_decode(trace: Trace) -> Callable[[Any, Any], int]:
    decode = llama().llama_decode

    def call(context: Any, batch: Any) -> int:
        trace.context = context
        trace.tokens += batch.n_tokens
        trace.calls.append((decode, (context, _copied(batch))))
        status: int = decode(context, batch)
        return status

    return call


def _recording(trace: Trace, name: str) -> Callable[..., Any]:
    original = getattr(llama(), name)

    def call(*arguments: Any) -> Any:
        trace.calls.append((original, arguments))
        return original(*arguments)

    return call


def _copied(batch: Any) -> Any:
    """Copy a `llama_batch` of token ids."""
    count = batch.n_tokens
    sequences = [batch.seq_id[i][: batch.n_seq_id[i]] for i in range(count)]
    return new_batch(batch.token[:count], batch.pos[:count], sequences, batch.logits[:count])


def new_batch(
    tokens: Sequence[int],
    positions: Sequence[int],
    sequences: Sequence[Sequence[int]],
    logits: Sequence[bool],
) -> Any:
    """Make a `llama_batch`, which keeps its arrays alive.

    Args:
        tokens: Token ids, [count].
        positions: Where each stands in its sequences, [count].
        sequences: Those that each belongs to, [count].
        logits: Whether each asks for logits, [count].
    """
    places = [len(ones) for ones in sequences]
    flat = np.array([sequence for ones in sequences for sequence in ones], np.int32)
    starts = np.cumsum([0, *places[:-1]], dtype=np.uint64) * np.uint64(flat.itemsize)
    arrays: dict[str, tuple[npt.NDArray[Any], Any]] = {
        "token": (np.array(tokens, np.int32), ctypes.c_int32),
        "pos": (np.array(positions, np.int32), ctypes.c_int32),
        "n_seq_id": (np.array(places, np.int32), ctypes.c_int32),
        "seq_id": (
            (np.uint64(flat.ctypes.data) + starts).astype(np.uintp),
            ctypes.POINTER(ctypes.c_int32),
        ),
        "logits": (np.array(logits, np.int8), ctypes.c_int8),
    }
    struct = llama().llama_batch()
    struct.n_tokens = len(tokens)
    struct.kept_alive = (arrays, flat)
    for name, (array, kind) in arrays.items():
        setattr(struct, name, array.ctypes.data_as(ctypes.POINTER(kind)))
    return struct
