"""What a model keeps of a text, read from its header, against what llama.cpp makes room for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import llama_cpp
import pytest

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama import library
from lmcot_cli.backends.llama.context import LlamaContext
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.room import MIB
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary

KINDS = {
    "llama": "attention",
    "gemma3": "window",
    "mamba": "recurrent",
    "mamba2": "recurrent",
    "jamba": "hybrid",
    "lfm2": "hybrid",
    "lfm2-window": "hybrid",
    "granite-h": "hybrid",
    "falcon-h1": "hybrid",
    "qwen3next": "hybrid",
}


@contextmanager
def log() -> Iterator[list[str]]:
    """Collect what llama.cpp logs."""
    lines: list[str] = []

    @llama_cpp.llama_log_callback
    def collect(level: int, text: bytes, _: object) -> None:
        lines.append(text.decode(errors="replace"))

    llama_cpp.llama_log_set(collect, None)
    try:
        yield lines
    finally:
        llama_cpp.llama_log_set(library._kept_callbacks[0], None)


@pytest.mark.parametrize(("family", "kind"), KINDS.items())
def test_the_memory_is_what_llama_cpp_makes(tiny_family: Callable[..., Path], family: str, kind: str) -> None:
    library.llama()
    with closing(LlamaModel(tiny_family(family, 4096))) as model:
        assert model.memory_kind == kind
        assert bool(model.memory_shape.token_values) == (kind != "recurrent")
        assert bool(model.memory_shape.state_values) == (kind in ("recurrent", "hybrid"))
        options = EngineOptions(threads=1)
        with (
            log() as lines,
            closing(LlamaContext(model, LlamaVocabulary(model).size, options, 16)) as context,
        ):
            made = re.findall(r"(?:KV|RS) buffer size = +([\d.]+) MiB", "".join(lines))
    assert sum(map(float, made)) == pytest.approx(context.room.size / MIB, abs=0.01 * len(made))
