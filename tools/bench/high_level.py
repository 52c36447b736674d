"""Measure what Python users of llama.cpp do today: llama-cpp-python's `Llama`, one sample after another."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from lmcot_cli.bench.machine import peak_memory
from lmcot_cli.bench.options import Workload
from tools.bench.library_calls import replaced

WARM_UP_TOKENS = 8
BATCH_TOKENS = 512


def measure_high_level(
    path: str, workload: dict[str, Any], ids: list[list[list[int]]], threads: int, gpu_layers: int
) -> dict[str, Any]:
    """Write the samples of every repeat; the samples of a prompt follow one another, so `Llama` reuses it.

    Only temperature and top-p are on, as in the engine; `Llama`'s own top-k and min-p are off.

    Args:
        path: The GGUF file.
        workload: Fields of `Workload`.
        ids: Token ids of the prompts of every repeat.
        threads: Threads that compute.
        gpu_layers: Layers on a GPU.

    Returns:
        Fields of `report.Loop`.
    """
    from lmcot_cli.backends.llama.library import llama

    work = Workload(**workload)
    model = llama().Llama(
        path,
        n_ctx=work.request_tokens + 1,  # it refuses to write the last token that fits
        n_batch=BATCH_TOKENS,
        n_threads=threads,
        n_threads_batch=threads,
        n_gpu_layers=gpu_layers,
        verbose=False,
    )
    with replaced("llama_vocab_is_eog", lambda vocabulary, token: False):  # no text ends early
        _complete(model, ids[0][0][::-1], work, seed=0, tokens=WARM_UP_TOKENS)
        measured = [_measure(model, prompts, work) for prompts in ids]
    return {
        "runs": [tokens / seconds for tokens, seconds in measured],
        "completion_tokens": measured[0][0],
        "peak_memory": peak_memory(),
    }


def _measure(model: Any, prompts: list[list[int]], work: Workload) -> tuple[int, float]:
    start = perf_counter()
    tokens = sum(
        _complete(model, prompt, work, seed=place * work.samples + sample, tokens=work.new_tokens)
        for place, prompt in enumerate(prompts)
        for sample in range(work.samples)
    )
    return tokens, perf_counter() - start


def _complete(model: Any, prompt: list[int], work: Workload, seed: int, tokens: int) -> int:
    """Write one sample and return how many tokens it has."""
    reply = model.create_completion(
        prompt,
        max_tokens=tokens,
        temperature=work.temperature,
        top_p=work.top_p,
        top_k=0,
        min_p=0.0,
        seed=seed,
    )
    return int(reply["usage"]["completion_tokens"])
