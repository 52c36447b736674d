"""Tiny models with random weights, of both architectures, written by the code under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tools.bench.random_model import write_random_model
from tools.bench.shapes import Shape

TINY = Shape(
    model="nothing",
    architecture="llama",
    layers=2,
    width=96,
    feed_forward=160,
    heads=3,
    kv_heads=1,
    vocabulary=1200,
    context=256,
    rope_base=1e4,
    norm_epsilon=1e-5,
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("bench")

    def write(architecture: str = "llama") -> Path:
        path = folder / f"{architecture}.gguf"
        if not path.exists():
            write_random_model(path, replace(TINY, architecture=architecture))
        return path

    return write
