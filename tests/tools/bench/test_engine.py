"""The engine, the limit and the high-level loop write the same amount, and the limit is the same work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.llama.library import llama
from lmcot_cli.bench.options import Workload
from lmcot_cli.bench.prompts import prepare
from tools.bench.engine import measure_engine
from tools.bench.high_level import measure_high_level
from tools.bench.library_calls import DecodeTimer, recorded, replaced
from tools.bench.report import Width

QUESTIONS = Path(__file__).parents[3] / "examples" / "questions.jsonl"
WORK = Workload(prompts=2, prompt_tokens=40, samples=3, new_tokens=6)


def inputs(path: Path, repeats: int = 2) -> dict[str, Any]:
    _, prompts = prepare(path, WORK, repeats)
    ids = [[prompt.ids for prompt in repeat] for repeat in prompts]
    return {"path": str(path), "workload": asdict(WORK), "ids": ids, "threads": 1, "gpu_layers": 0}


def texts(path: Path, repeats: int = 2) -> list[list[str]]:
    return [[prompt.text for prompt in repeat] for repeat in prepare(path, WORK, repeats)[1]]


def test_the_engine_writes_every_token_and_reads_every_prompt_once(tiny: Callable[[str], Path]) -> None:
    path = tiny("qwen2")
    found = Width(**measure_engine(**inputs(path), texts=texts(path), width=4, profile=True))
    assert found.completion_tokens == 2 * 3 * 6
    assert found.decoded["prompt_tokens"] == 2 * 40
    assert len(found.runs) == len(found.limit_runs) == len(found.outside_decode_runs) == 2
    assert all(0 < share < 1 for share in found.outside_decode_runs)
    assert found.parts is not None
    assert sum(found.parts.values()) == pytest.approx(1)
    assert found.parts["sampling"] > 0
    assert found.parts["batch filling"] > 0
    assert min(found.bare_prefill, found.bare_decode, found.limit) > 0


def test_the_high_level_loop_writes_as_much(tiny: Callable[[str], Path]) -> None:
    found = measure_high_level(**inputs(tiny("llama"), repeats=1))
    assert found["completion_tokens"] == 2 * 3 * 6
    assert len(found["runs"]) == 1


def test_a_replay_computes_what_the_engine_computed(tiny: Callable[[str], Path]) -> None:
    requests = [Request(prompt, seed) for prompt in texts(tiny("llama"), 1)[0] for seed in range(3)]
    with LlamaBackend(tiny("llama"), EngineOptions(threads=1, parallel=4)) as backend:
        with recorded() as trace:
            backend.complete(requests, Sampling(0.8, 0.95, 6))
        first = last_logits(trace.context)
        written = asdict(backend.work)
        trace.clear()
        backend.reset()
        backend.complete(requests[:1], Sampling(max_tokens=2))
        assert not np.array_equal(last_logits(trace.context), first)
        assert trace.replay() > 0
        assert np.array_equal(last_logits(trace.context), first)
    assert trace.tokens == written["prompt_tokens"] + written["completion_tokens"]


def last_logits(context: Any) -> np.ndarray:
    """The first row that the last decode left."""
    return np.ctypeslib.as_array(llama().llama_get_logits(context), (1200,)).copy()


def test_the_timer_sees_every_batch_and_is_gone_afterwards(tiny: Callable[[str], Path]) -> None:
    original = llama().llama_decode
    timer, calls = DecodeTimer(), []

    def counted(context: Any, batch: Any) -> int:
        calls.append(batch.n_tokens)
        return timer(context, batch)

    with LlamaBackend(tiny("llama"), EngineOptions(threads=1)) as backend:
        with replaced("llama_decode", counted):
            backend.complete([Request("the film", 0)], Sampling(max_tokens=5))
        assert len(calls) == backend.work.batches
    assert timer.seconds > 0
    assert llama().llama_decode is original
    assert llama().llama_cpp.llama_decode is original
