"""llama.cpp by itself: how fast it reads prompts and decodes batches, with nothing around it."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from lmcot_cli.backends.llama.library import llama
from lmcot_cli.errors import ModelError
from tools.bench.library_calls import new_batch

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
        self._batch_tokens = int(llama().llama_n_batch(context))

    def read(self, prompts: list[list[int]]) -> float:
        """Read each prompt into the empty cache, and return tokens per second."""
        self._run(self._prompt(prompts[0]))  # a warm-up
        seconds = sum(self._run(self._prompt(prompt)) for prompt in prompts)
        return sum(map(len, prompts)) / seconds

    def decode(self, prompts: list[list[int]], width: int) -> float:
        """Let sequences share the prompts, decode a few batches of one token each, return tokens per second."""
        for place, prompt in enumerate(prompts):
            self._run(self._prompt(prompt, place), clear=place == 0)
        for sequence in range(len(prompts), width):
            source = sequence % len(prompts)
            llama().llama_memory_seq_cp(self._memory, source, sequence, WHOLE, WHOLE)
        sequences = [[sequence] for sequence in range(width)]
        token, start = prompts[0][-1], len(prompts[0])
        steps = [
            new_batch([token] * width, [start + step] * width, sequences, [True] * width)
            for step in range(DECODE_STEPS)
        ]
        return width * DECODE_STEPS / self._run(steps, clear=False)

    def _prompt(self, prompt: list[int], sequence: int = 0) -> list[Any]:
        """Part a prompt into batches; the last token asks for logits."""
        batches = []
        for begin in range(0, len(prompt), self._batch_tokens):
            tokens = prompt[begin : begin + self._batch_tokens]
            end = begin + len(tokens)
            logits = [position == len(prompt) - 1 for position in range(begin, end)]
            batches.append(new_batch(tokens, range(begin, end), [[sequence]] * len(tokens), logits))
        return batches

    def _run(self, batches: list[Any], *, clear: bool = True) -> float:
        """Decode batches, into an empty cache if it is to be cleared, and return the seconds."""
        if clear:
            llama().llama_memory_clear(self._memory, False)
        start = perf_counter()
        for batch in batches:
            status = llama().llama_decode(self._context, batch)
            if status != 0:
                raise ModelError(f"llama.cpp could not decode a batch ({status})")
        llama().llama_synchronize(self._context)
        return perf_counter() - start
