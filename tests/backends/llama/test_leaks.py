from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.llama.backend import LlamaBackend

MIB = 1024 * 1024


def resident_bytes() -> int:
    gc.collect()
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)  # What glibc keeps for later is no leak.
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_ten_thousand_requests_leave_no_memory_behind(open_tiny: Callable[..., LlamaBackend]) -> None:
    backend = open_tiny(width=64, heads=2, layers=2, feed_forward=128)
    sampling = Sampling(temperature=1.0, top_p=0.9, max_tokens=4, stop=("zq",))

    def ask(rounds: int) -> None:
        for number in range(rounds):
            requests = [Request(f"row {number} asks about the weather", seed) for seed in range(16)]
            requests += [Request(f"row {number} asks about the weather in {seed}", seed) for seed in range(3)]
            requests.append(Request("x" * 600, 0))  # does not fit
            backend.complete(requests, sampling)

    ask(50)
    before = resident_bytes()
    ask(500)
    assert resident_bytes() - before < 2 * MIB


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_closed_models_leave_no_memory_behind(tiny_gguf: Callable[..., Path]) -> None:
    def load_often() -> None:
        for _ in range(10):
            with LlamaBackend(tiny_gguf()) as backend:
                backend.complete([Request("the cat", 0)], Sampling(max_tokens=2))

    load_often()
    before = resident_bytes()
    load_often()
    load_often()
    assert resident_bytes() - before < 2 * MIB, "a model with its cache takes more than that"
