"""Tiny models for llama.cpp; equal settings give the same file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from tests.tiny_models.families import write_family
from tests.tiny_models.gguf_files import TinyLlama, write_tiny_gguf


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a tiny model, settings as in `TinyLlama`; equal settings give the same file."""
    folder = tmp_path_factory.mktemp("tiny")
    written: dict[TinyLlama, Path] = {}

    def write(**settings: Any) -> Path:
        shape = TinyLlama(**settings)
        if shape not in written:
            written[shape] = write_tiny_gguf(folder / f"tiny{len(written)}.gguf", shape)
        return written[shape]

    return write


@pytest.fixture
def open_tiny(tiny_gguf: Callable[..., Path]) -> Iterator[Callable[..., LlamaBackend]]:
    """Load a tiny model: `options` are the engine's, the other settings as in `TinyLlama`."""
    with ExitStack() as stack:

        def load(options: EngineOptions | None = None, **settings: Any) -> LlamaBackend:
            return stack.enter_context(
                LlamaBackend(tiny_gguf(**settings), options or EngineOptions(threads=1, parallel=16))
            )

        yield load


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a tiny model of a family of `families.FAMILIES`; equal settings give the same file."""
    folder = tmp_path_factory.mktemp("families")

    def write(family: str, context: int = 512) -> Path:
        path = folder / f"{family}-{context}.gguf"
        return path if path.exists() else write_family(path, family, context)

    return write
