"""llama.cpp by itself: how fast it reads prompts and decodes batches, with nothing around it."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from lmcot_cli.backends.llama.context import Batch
from lmcot_cli.backends.llama.library import llama
from lmcot_cli.errors import ModelError

WHOLE = -1
DECODE_STEPS = 32
PROMPTS_READ = 4


@dataclass(frozen=True, slots=True)
class BareRates:
    """Tokens per second of `llama_decode` on pure batches.

    Attributes:
        prefill: Reading prompts, one after the other.
        decode: One token a sequence and batch, every sequence after a prompt of the workload.
    """

    prefill: float
    decode: float


def measure_bare(context: Any, prompts: list[list[int]], width: int, samples: int) -> BareRates:
    """Measure both in a context that has room for the workload; what it held is forgotten.

    Args:
        context: A `llama_context *`.
        prompts: Token ids of prompts of one length.
        width: Sequences decoded in one batch.
        samples: How many of them share a prompt, whose cells they share too.

    Raises:
        ModelError: llama.cpp could not compute a batch.
    """
    bare = _Bare(context)
    prefill = bare.read(prompts[:PROMPTS_READ])
    held = -(-width // samples)
    decode = bare.decode([prompts[index % len(prompts)] for index in range(held)], width)
    return BareRates(prefill, decode)


class _Bare:
    def __init__(self, context: Any) -> None:
        self._context = context
        self._memory = llama().llama_get_memory(context)
        self._batch = Batch(int(llama().llama_n_batch(context)))

    def read(self, prompts: list[list[int]]) -> float:
        """Read each prompt into the empty cache, and return tokens per second."""
        self._clear()
        self._prompt(prompts[0])  # a warm-up
        start = perf_counter()
        for prompt in prompts:
            self._clear()
            self._prompt(prompt)
        return sum(map(len, prompts)) / (perf_counter() - start)

    def decode(self, prompts: list[list[int]], width: int) -> float:
        """Let sequences share the prompts, decode a few batches of one token each, return tokens per second."""
        self._clear()
        for place, prompt in enumerate(prompts):
            self._prompt(prompt, place)
        for sequence in range(len(prompts), width):
            source = sequence % len(prompts)
            llama().llama_memory_seq_cp(self._memory, source, sequence, WHOLE, WHOLE)
        first = np.array(prompts[0][-1:], np.int32)
        start = perf_counter()
        for step in range(DECODE_STEPS):
            for sequence in range(width):
                self._batch.add(first, len(prompts[0]) + step, sequence, last_logits=True)
            self._run()
        return width * DECODE_STEPS / (perf_counter() - start)

    def _prompt(self, prompt: list[int], sequence: int = 0) -> None:
        tokens = np.array(prompt, np.int32)
        for begin in range(0, len(tokens), self._batch.room):
            part = tokens[begin : begin + self._batch.room]
            self._batch.add(part, begin, sequence, last_logits=True)
            self._run()

    def _run(self) -> None:
        status = llama().llama_decode(self._context, self._batch.struct)
        llama().llama_synchronize(self._context)
        self._batch.clear()
        if status != 0:
            raise ModelError(f"llama.cpp could not decode a batch ({status})")

    def _clear(self) -> None:
        llama().llama_memory_clear(self._memory, False)
