"""Measure lmcot's engine at one width, and llama.cpp alone on the same batches."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.llama.memory import memory_estimate
from lmcot_cli.bench.engine import engine_options, texts_never_end, write
from lmcot_cli.bench.machine import peak_memory
from lmcot_cli.bench.options import Workload
from lmcot_cli.errors import ModelError
from tools.bench.bare import measure_bare
from tools.bench.library_calls import DecodeTimer, Trace, recorded, replaced
from tools.bench.split import time_by_part


def measure_engine(
    path: str,
    workload: dict[str, Any],
    texts: list[list[str]],
    ids: list[list[list[int]]],
    width: int,
    threads: int,
    gpu_layers: int,
    profile: bool,
) -> dict[str, Any]:
    """Write the samples of every repeat, each followed by the same batches with nothing around them.

    The first prompts are written once more before, to warm up and to record the batches.

    Args:
        path: The GGUF file.
        workload: Fields of `Workload`.
        texts: The prompts of every repeat, without a chat template.
        ids: The same as the token ids that the model sees.
        width: Sequences decoded at once.
        threads: Threads that compute.
        gpu_layers: Layers on a GPU.
        profile: Whether to split the time outside `llama_decode` too, which takes one more run.

    Returns:
        Fields of `report.Width`.
    """
    work = Workload(**workload)
    options = engine_options(work, width, threads, gpu_layers)
    with texts_never_end(), LlamaBackend(Path(path), options) as backend:
        run = _EngineRun(backend, work)
        with recorded() as trace:
            write(backend, work, texts[0])
        if trace.context is None:
            raise ModelError("the engine decoded nothing that could be recorded")
        decoded = asdict(backend.work)
        peak = peak_memory()
        measured = [run.beside_the_limit(prompts, trace) for prompts in texts]
        parts = time_by_part(lambda: run.write_timed(texts[0])) if profile else None
        bare = measure_bare(trace.context, ids[0], width, work.samples)
    return {
        "width": width,
        "runs": [tokens / seconds for tokens, seconds, _, _ in measured],
        "limit_runs": [tokens / limit for tokens, _, _, limit in measured],
        "outside_decode_runs": [1 - inside / seconds for _, seconds, inside, _ in measured],
        "completion_tokens": measured[0][0],
        "decoded": decoded,
        "parts": parts,
        "bare_prefill": bare.prefill,
        "bare_decode": bare.decode,
        "peak_memory": peak,
        "stated_memory": memory_estimate(Path(path), options).total,
    }


class _EngineRun:
    """The workload on a loaded backend."""

    def __init__(self, backend: LlamaBackend, workload: Workload) -> None:
        self._backend, self._workload = backend, workload

    def write_timed(self, prompts: list[str]) -> tuple[int, float, float]:
        """Return the tokens written, the seconds they took, and those inside `llama_decode`."""
        timer = DecodeTimer()
        with replaced("llama_decode", timer):
            start = perf_counter()
            tokens = write(self._backend, self._workload, prompts)
            return tokens, perf_counter() - start, timer.seconds

    def beside_the_limit(self, prompts: list[str], trace: Trace) -> tuple[int, float, float, float]:
        """Measure the engine, then the recorded batches; the cache is given back empty."""
        timed = self.write_timed(prompts)
        self._backend.reset()
        limit = trace.replay()
        trace.clear()
        return *timed, limit
