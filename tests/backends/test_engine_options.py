from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from lmcot_cli.backends.engine_options import MAX_PARALLEL, MAX_THREADS, EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.errors import UsageError


def test_threads_are_the_cores_this_process_may_use() -> None:
    assert EngineOptions().threads == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_ctx": 0},
        {"parallel": 0},
        {"parallel": MAX_PARALLEL + 1},
        {"threads": 0},
        {"threads": MAX_THREADS + 1},
        {"gpu_layers": -2},
        {"kv_mib": 0},
        {"dtype": "int8"},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        EngineOptions(**wrong)


def test_the_widest_batch_can_be_loaded(open_tiny: Callable[..., LlamaBackend]) -> None:
    open_tiny(EngineOptions(parallel=MAX_PARALLEL, threads=1))


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        (EngineOptions(threads=1), 4096),  # what the model was trained with
        (EngineOptions(n_ctx=300, threads=1), 300),
        (EngineOptions(n_ctx=9999, threads=1), 4096),
        (EngineOptions(kv_mib=1, threads=1), 1365),  # 1 MiB at 768 bytes a token
    ],
)
def test_tokens_a_request_may_take(
    open_tiny: Callable[..., LlamaBackend], options: EngineOptions, tokens: int
) -> None:
    assert open_tiny(options, context=4096).context_tokens == tokens
