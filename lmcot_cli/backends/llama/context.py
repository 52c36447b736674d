"""A llama.cpp context: the KV cache, the batch to fill at every step, and the logits."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.abandon import ABORTED, AbandonedError, AbandonSwitch
from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.room import BATCH_TOKENS, MIB, plan_room
from lmcot_cli.backends.sampling import Logits
from lmcot_cli.backends.vocabulary import TokenIds
from lmcot_cli.errors import ModelError
from lmcot_cli.interrupts import held, telling

WHOLE = -1  # as a first and a last position

SPARE_SEQUENCES = 8
"""Sequences besides those of the completions in progress and of their prompts."""

MAX_SEQUENCES = 256
"""Maximum sequences of llama.cpp (LLAMA_MAX_SEQ)."""


class LlamaContext:
    """One KV cache shared by all sequences, sized by the options and the model.

    A model with recurrent layers keeps a state for each sequence beside the cache, or instead of it: that of its last
    token. llama.cpp shares the state as it is, whatever part of a sequence is asked for.

    Attributes:
        room: The size of the KV cache.
        cells: Tokens that it holds; one that several sequences share counts once.
        sequences: Number of sequences, numbered from 0.
        shares_parts: Whether a sequence can begin with a part of another, not only with all of it.
        guards: Whether tokens that other sequences may begin with need a second sequence that holds them. Where a layer
            attends only to a window of the newest tokens, llama.cpp reuses the cells of older tokens that a single
            sequence holds.
        batch: The batch to fill before `decode`.

    Raises:
        UsageError: The budget for the KV cache holds no request.
        ModelError: There is not enough memory.
    """

    def __init__(
        self, model: LlamaModel, vocabulary_size: int, options: EngineOptions, parallel: int
    ) -> None:
        self.room = plan_room(model.memory_shape, model.trained_context, options, parallel)
        self.shares_parts = model.memory_kind in ("attention", "window")
        self.guards = model.memory_kind == "window"
        self.sequences = self.room.states or _sequences(parallel, 2 if self.guards else 1)
        self._guard_of: dict[int, int] = {}
        self.batch = TokenBatch(BATCH_TOKENS)
        self._path = model.path
        self._vocabulary_size = vocabulary_size
        self._handle = self._create(model, options)
        self._memory = llama().llama_get_memory(self._handle)
        self._switch = AbandonSwitch()
        self._switch.connect(self._handle)
        self._told = ExitStack()
        self._told.enter_context(telling(self._switch.press))
        self.cells = int(llama().llama_n_ctx(self._handle))

    def clear(self) -> None:
        """Forget every sequence."""
        llama().llama_memory_clear(self._memory, False)
        self.batch.clear()
        self._guard_of.clear()

    def share(self, source: int, target: int, length: int) -> None:
        """Let the sequence `target` begin with the first tokens of `source` (with all, unless `shares_parts`).

        Shared tokens take no cells.
        """
        part = (0, length) if self.shares_parts else (WHOLE, WHOLE)
        llama().llama_memory_seq_cp(self._memory, source, target, *part)

    def guard(self, sequence: int, guard: int) -> None:
        """Let the empty sequence `guard` hold, too, what is decoded for `sequence` from now on."""
        self._guard_of[sequence] = guard

    def drop(self, sequence: int, kept: int = 0) -> None:
        """Forget all but the first `kept` tokens of a sequence; cells that no other shares become free.

        Raises:
            ModelError: The model's memory cannot forget a part.
        """
        guard = self._guard_of.get(sequence) if kept else self._guard_of.pop(sequence, None)
        for each in [sequence] if guard is None else [sequence, guard]:
            if not llama().llama_memory_seq_rm(self._memory, each, kept, WHOLE):
                raise ModelError(f"{self._path}: llama.cpp cannot forget a part of a sequence")

    def add_adapters(self, handles: Sequence[Any], scales: Sequence[float]) -> None:
        """Add LoRA adapters to everything that is computed from now on.

        Args:
            handles: llama.cpp's handles; the model has loaded the adapters.
            scales: What the change of each is multiplied by.

        Raises:
            ModelError: llama.cpp does not accept them.
        """
        api, count = llama(), len(handles)
        pointers = (api.llama_adapter_lora_p_ctypes * count)(*handles)
        factors = (ctypes.c_float * count)(*scales)
        if api.llama_set_adapters_lora(self._handle, pointers, count, factors) != 0:
            raise ModelError(f"{self._path}: llama.cpp does not accept its adapters: {first_error()}")

    def decode(self, *, abandonable: bool = False) -> Logits:
        """Run the model on the batch and empty it.

        Args:
            abandonable: Whether a signal may end the computation. A recurrent state cannot be taken back, so a model
                with one completes it all the same.

        Returns:
            The logits of the tokens that asked for them, [asking tokens, vocabulary], in the order of the batch. The
            array is llama.cpp's own memory: the next `decode` overwrites it.

        Raises:
            AbandonedError: A signal arrived; the batch is empty, and the KV cache is as it was before.
            ModelError: llama.cpp could not compute the batch.
        """
        api = llama()
        forget_errors()
        self._switch.arm(armed=abandonable and self.shares_parts)
        with held():  # llama.cpp logs, and what is raised in a callback is lost
            status = api.llama_decode(self._handle, self.batch.struct)
        self._switch.arm(armed=False)
        if status == ABORTED:
            self.batch.clear()
            raise AbandonedError
        if status != 0:
            raise ModelError(f"{self._path}: llama.cpp could not decode a batch ({status}): {first_error()}")
        self._guard_runs()
        shape = (self.batch.outputs, self._vocabulary_size)
        self.batch.clear()
        if shape[0] == 0:
            return np.empty(shape, np.float32)
        return np.ctypeslib.as_array(api.llama_get_logits(self._handle), shape)

    def close(self) -> None:
        """Free the KV cache; a second call has no effect."""
        if self._handle:
            self._told.close()
            llama().llama_free(self._handle)
            self._handle = None

    def _guard_runs(self) -> None:
        """Let guards hold what was decoded, before another batch can take its cells."""
        for sequence, start, end in self.batch.runs:
            if (guard := self._guard_of.get(sequence)) is not None:
                llama().llama_memory_seq_cp(self._memory, sequence, guard, start, end)

    def _create(self, model: LlamaModel, options: EngineOptions) -> Any:
        api = llama()
        forget_errors()
        params = api.llama_context_default_params()
        params.n_ctx = self.room.cells
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = params.n_outputs_max = self.sequences
        params.n_threads = params.n_threads_batch = options.threads
        params.flash_attn_type = int(options.flash_attention)
        params.type_k = params.type_v = getattr(api, f"GGML_TYPE_{options.kv_type.upper()}")
        params.kv_unified = True  # sequences can share cells only within one cache
        params.swa_full = True  # all cells are kept with a sliding window, too: no request runs out of them
        with held():
            handle = api.llama_init_from_model(model.handle, params)
        if not handle:
            only_states = f"the states of {self.room.states} sequences"
            kept = (
                f"a KV cache of {self.room.cells} tokens" if model.memory_shape.token_values else only_states
            )
            raise ModelError(
                f"{model.path}: no memory for {kept} ({self.room.size // MIB} MiB): {first_error()};"
                " try a smaller --kv-mib or --parallel"
            )
        return handle


def _sequences(parallel: int, sequences_each: int) -> int:
    """Return the number of sequences for `parallel` completions, and for prompts that take `sequences_each`."""
    return min((1 + sequences_each) * parallel + sequences_each * SPARE_SEQUENCES, MAX_SEQUENCES)


class TokenBatch:
    """The arrays of a `llama_batch`, allocated once.

    Attributes:
        struct: What llama.cpp reads.
        runs: Sequence, first position and end position (exclusive) of each run.
        outputs: Number of tokens that ask for logits.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._tokens, self._positions, self._sequences = np.zeros((3, capacity), np.int32)
        self._wants_logits = np.zeros(capacity, np.int8)
        self._one_sequence_each = np.ones(capacity, np.int32)
        starts = self._sequences.ctypes.data + self._sequences.itemsize * np.arange(capacity, dtype=np.uint64)
        self._sequence_pointers = starts.astype(np.uintp)
        self.struct = self._as_struct()
        self.runs: list[tuple[int, int, int]] = []
        self.outputs = 0

    def __len__(self) -> int:
        return int(self.struct.n_tokens)

    @property
    def room(self) -> int:
        """Tokens that can still be added."""
        return self._capacity - len(self)

    def add_run(self, tokens: TokenIds, start: int, sequence: int, *, last_logits: bool) -> None:
        """Append tokens of one sequence, the first at position `start`.

        Args:
            tokens: The tokens, [tokens].
            start: Position of the first.
            sequence: Their sequence.
            last_logits: Whether to ask for the logits of the last one.
        """
        place = self._append(len(tokens))
        self._tokens[place] = tokens
        self._positions[place] = np.arange(start, start + len(tokens))
        self._sequences[place] = sequence
        self._wants_logits[place] = 0
        self._wants_logits[place.stop - 1] = last_logits
        self.runs.append((sequence, start, start + len(tokens)))
        self.outputs += last_logits

    def add_each(self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]) -> None:
        """Append one token each of several sequences, and ask for the logits of all."""
        place = self._append(len(tokens))
        self._tokens[place] = tokens
        self._positions[place] = positions
        self._sequences[place] = sequences
        self._wants_logits[place] = 1
        self.outputs += len(tokens)

    def _append(self, count: int) -> slice:
        begin = len(self)
        self.struct.n_tokens = begin + count
        return slice(begin, begin + count)

    def clear(self) -> None:
        """Remove all tokens."""
        self.struct.n_tokens = 0
        self.runs.clear()
        self.outputs = 0

    def _as_struct(self) -> Any:
        def pointer(array: npt.NDArray[Any], kind: Any) -> Any:
            return array.ctypes.data_as(ctypes.POINTER(kind))

        struct = llama().llama_batch()
        struct.n_tokens = 0
        struct.token = pointer(self._tokens, ctypes.c_int32)
        struct.pos = pointer(self._positions, ctypes.c_int32)
        struct.n_seq_id = pointer(self._one_sequence_each, ctypes.c_int32)
        struct.seq_id = pointer(self._sequence_pointers, ctypes.POINTER(ctypes.c_int32))
        struct.logits = pointer(self._wants_logits, ctypes.c_int8)
        return struct
