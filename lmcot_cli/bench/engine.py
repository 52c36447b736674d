"""Measure lmcot's engine at one width."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.llama.memory import memory_estimate
from lmcot_cli.backends.vocabulary import Vocabulary
from lmcot_cli.bench.machine import peak_memory
from lmcot_cli.bench.options import Workload


def measure_engine(
    path: str, workload: dict[str, Any], texts: list[list[str]], width: int, threads: int, gpu_layers: int
) -> dict[str, Any]:
    """Write the samples of every repeat, after a warm-up with the first prompts.

    Args:
        path: The GGUF file.
        workload: Fields of `Workload`.
        texts: The prompts of every repeat, without a chat template.
        width: Sequences decoded at once.
        threads: Threads that compute.
        gpu_layers: Layers on a GPU.

    Returns:
        Fields of `report.WidthRates`.
    """
    work = Workload(**workload)
    options = engine_options(work, width, threads, gpu_layers)
    with texts_never_end(), LlamaBackend(Path(path), options) as backend:
        write(backend, work, texts[0])
        peak = peak_memory()
        runs = [_rate(backend, work, prompts) for prompts in texts]
        reading = _reading_rate(backend, work, texts[0])
    return {
        "width": width,
        "runs": runs,
        "reading": reading,
        "peak_memory": peak,
        "stated_memory": memory_estimate(Path(path), options).total,
    }


def engine_options(work: Workload, width: int, threads: int, gpu_layers: int) -> EngineOptions:
    """Return the engine's settings for a workload at one width."""
    return EngineOptions(n_ctx=work.request_tokens, parallel=width, threads=threads, gpu_layers=gpu_layers)


def write(backend: LlamaBackend, work: Workload, prompts: list[str]) -> int:
    """Write the samples of these prompts, from an empty cache, and return how many tokens they have."""
    requests = [
        Request(prompt, seed=place * work.samples + sample)
        for place, prompt in enumerate(prompts)
        for sample in range(work.samples)
    ]
    backend.reset()
    sampling = Sampling(work.temperature, work.top_p, work.new_tokens)
    return sum(_tokens(reply) for reply in backend.complete(requests, sampling))


@contextmanager
def texts_never_end() -> Iterator[None]:
    """Let no token end a text, so that every completion has as many tokens as were asked for."""
    owner, name = Vocabulary, "ends"
    original = vars(owner)[name]
    setattr(owner, name, frozenset())
    try:
        yield
    finally:
        setattr(owner, name, original)


def _rate(backend: LlamaBackend, work: Workload, prompts: list[str]) -> float:
    start = perf_counter()
    tokens = write(backend, work, prompts)
    return tokens / (perf_counter() - start)


def _reading_rate(backend: LlamaBackend, work: Workload, prompts: list[str]) -> float:
    """Return the prompt tokens read per second, by completions of one token."""
    backend.reset()
    start = perf_counter()
    replies = backend.complete([Request(prompt, seed=0) for prompt in prompts], Sampling(max_tokens=1))
    for reply in replies:
        _tokens(reply)
    return len(prompts) * work.prompt_tokens / (perf_counter() - start)


def _tokens(reply: Completion | Exception) -> int:
    if isinstance(reply, Completion):
        return reply.completion_tokens
    raise reply
