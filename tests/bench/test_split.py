"""Time is added up by the part of the engine that spent it, hand-worked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.backends import llama
from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.bench import library_calls
from lmcot_cli.bench.split import PARTS, Function, _by_part, time_by_part
from lmcot_cli.models import embedded

ENGINE = Path(llama.__file__).parent
HERE = "/anywhere/lmcot_cli/backends/llama"
SAMPLE: Function = (f"{HERE}/sampling.py", 1, "sample")
PIECE: Function = (f"{HERE}/vocabulary.py", 1, "piece")
ADD: Function = (f"{HERE}/context.py", 1, "add")
RUN: Function = (f"{HERE}/scheduler.py", 1, "run")
TIMER: Function = (library_calls.__file__, 1, "__call__")
SORT: Function = ("~", 0, "<method 'argsort'>")
WRAPPER: Function = ("/site-packages/numpy/core.py", 1, "sum")
REDUCE: Function = ("~", 0, "<method 'reduce'>")


def times(own: float, **callers: float) -> Any:
    """What the profiler keeps: calls, calls, own and whole seconds, and the same by caller."""
    names = {"sample": SAMPLE, "piece": PIECE, "wrapper": WRAPPER}
    return (1, 1, own, own, {names[name]: (1, 1, share, share) for name, share in callers.items()})


def test_a_function_counts_for_its_own_part_or_for_those_who_called_it() -> None:
    stats = {
        RUN: times(1.0),
        TIMER: times(50.0),
        ADD: times(2.0),
        SAMPLE: times(3.0),
        PIECE: times(0.5),
        SORT: times(4.0, sample=3.0, piece=1.0),
        WRAPPER: times(1.0, sample=1.0),
        REDUCE: times(2.0, wrapper=2.0),
    }
    assert _by_part(stats) == pytest.approx(
        {
            "other": 1.0,
            "decode": 50.0,
            "batch filling": 2.0,
            "sampling": 3.0 + 3.0 + 1.0 + 2.0,
            "text": 0.5 + 1.0,
        }
    )


def test_functions_that_call_themselves_or_each_other_end() -> None:
    stats = {
        SORT: (1, 1, 1.0, 1.0, {REDUCE: (1, 1, 1.0, 1.0)}),
        REDUCE: (1, 1, 1.0, 1.0, {SORT: (1, 1, 1.0, 1.0)}),
    }
    assert _by_part(stats) == pytest.approx({"other": 2.0})


def test_the_parts_are_modules_of_the_engine() -> None:
    assert PARTS.keys() <= {path.stem for path in (*ENGINE.glob("*"), *ENGINE.parent.glob("*"))}


def test_the_parts_of_the_engine_itself_take_time() -> None:
    options = EngineOptions(n_ctx=512, parallel=4, threads=1)
    requests = [Request(f"Question: who is number {number}?\nRationale:", number) for number in range(8)]
    with LlamaBackend(embedded.path_of("builtin:small"), options, "builtin:small") as backend:
        shares = time_by_part(lambda: backend.complete(requests, Sampling(temperature=1.0, max_tokens=16)))
    assert shares.keys() == {*PARTS.values(), "other"}
    assert all(share > 0 for share in shares.values()), shares
    assert sum(shares.values()) == pytest.approx(1.0)
