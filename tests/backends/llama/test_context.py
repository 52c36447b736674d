from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import llama_get_logits_ith

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.context import LlamaContext
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.errors import ModelError


@pytest.fixture
def context(tiny_gguf: Callable[..., Path]) -> Iterator[LlamaContext]:
    model = LlamaModel(tiny_gguf())
    context = LlamaContext(model, LlamaVocabulary(model).size, EngineOptions(threads=1), parallel=4)
    yield context
    context.close()
    model.close()


def tokens(*ids: int) -> np.ndarray:
    return np.array(ids, np.int32)


def test_logits_come_in_the_order_of_the_tokens_that_asked(context: LlamaContext) -> None:
    context.batch.add_run(tokens(1, 2, 3), 0, sequence=2, last_logits=True)
    context.batch.add_run(tokens(4, 5), 0, sequence=0, last_logits=False)
    context.batch.add_run(tokens(6), 0, sequence=1, last_logits=True)
    logits = context.decode()
    for row, place in zip(logits, (2, 5), strict=True):
        expected = np.ctypeslib.as_array(llama_get_logits_ith(context._handle, place), row.shape)
        np.testing.assert_array_equal(row, expected)


def test_a_shared_beginning_counts_as_the_sequences_own(context: LlamaContext) -> None:
    context.batch.add_run(tokens(1, 2, 3, 4), 0, sequence=0, last_logits=True)
    whole = context.decode().copy()
    context.clear()
    context.batch.add_run(tokens(1, 2, 3), 0, sequence=1, last_logits=False)
    assert len(context.decode()) == 0
    context.share(1, 2, 3)
    context.drop(1)
    context.batch.add_run(tokens(4), 3, sequence=2, last_logits=True)
    np.testing.assert_allclose(context.decode(), whole, atol=0.05)


def test_tokens_outside_the_window_stay_for_those_who_may_begin_with_them(
    tiny_family: Callable[..., Path],
) -> None:
    # The window is 24 tokens. A third sequence has more tokens than the first one left cells free, and llama.cpp
    # gives it those of the second, in the layers with a window, unless a guard holds them, too.
    model = LlamaModel(tiny_family("gemma3"))
    context = LlamaContext(model, LlamaVocabulary(model).size, EngineOptions(threads=1), parallel=1)
    long = np.arange(100, dtype=np.int32)
    context.batch.add_run(long[:41], 0, sequence=0, last_logits=True)
    whole = context.decode().copy()
    context.drop(0)
    context.batch.add_run(long[:50], 0, sequence=0, last_logits=False)
    context.guard(1, 7)
    context.batch.add_run(long, 0, sequence=1, last_logits=False)
    context.decode()
    context.drop(0)
    context.batch.add_run(long[:80], 0, sequence=2, last_logits=False)
    context.decode()
    context.share(1, 3, 40)
    context.batch.add_run(long[40:41], 40, sequence=3, last_logits=True)
    np.testing.assert_allclose(context.decode(), whole, atol=0.2)
    context.close()
    model.close()


@pytest.mark.parametrize("family", ["mamba", "lfm2"])
def test_a_state_is_shared_as_a_whole_and_cannot_forget_a_part(
    tiny_family: Callable[..., Path], family: str
) -> None:
    model = LlamaModel(tiny_family(family))
    context = LlamaContext(model, LlamaVocabulary(model).size, EngineOptions(threads=1), parallel=1)
    assert not context.shares_parts
    context.batch.add_run(tokens(1, 2, 3, 4, 5), 0, sequence=0, last_logits=True)
    whole = context.decode().copy()
    context.clear()
    context.batch.add_run(tokens(1, 2, 3), 0, sequence=0, last_logits=False)
    context.decode()
    context.share(0, 1, 3)
    context.batch.add_run(tokens(9, 9), 3, sequence=0, last_logits=False)
    context.batch.add_run(tokens(4, 5), 3, sequence=1, last_logits=True)
    np.testing.assert_allclose(context.decode(), whole, atol=0.05)
    with pytest.raises(ModelError, match="cannot forget a part"):
        context.drop(0, kept=2)
    context.drop(0)
    context.close()
    model.close()


def test_decoding_more_than_the_cache_holds_is_a_model_error(context: LlamaContext) -> None:
    with pytest.raises(ModelError, match="could not decode a batch"):
        for start in range(0, context.cells + 512, 512):
            context.batch.add_run(np.ones(512, np.int32), start, sequence=0, last_logits=False)
            context.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_too_little_memory_is_one_line(tiny_gguf: Callable[..., Path]) -> None:
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from lmcot_cli.backends.llama.backend import EngineOptions, LlamaBackend\n"
        "from lmcot_cli.backends.llama.library import llama\n"
        "from lmcot_cli.errors import ModelError\n"
        "llama()\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))\n"
        "try:\n"
        "    LlamaBackend(Path(sys.argv[1]), EngineOptions(threads=1, parallel=124))\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    path = tiny_gguf(context=100_000)
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.startswith(f"{path}: no memory for a KV cache of "), result.stderr
    assert result.stdout.endswith("try a smaller --kv-mib or --parallel\n")
