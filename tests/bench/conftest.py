"""A tiny model with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_models.gguf_files import TinyLlama, write_tiny_gguf


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a model that was trained with 256 tokens of context, as it says."""
    return write_tiny_gguf(tmp_path_factory.mktemp("bench") / "tiny.gguf", TinyLlama(context=256))
