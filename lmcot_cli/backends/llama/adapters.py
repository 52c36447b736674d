"""LoRA adapters in GGUF, added to a model while it runs, whatever type the model's weights are stored in.

`lmcot export --adapter-only` writes them. Several may be on at once; their changes add up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmcot_cli.backends.llama.gguf_header import read_header
from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.files import sha256_of

_WRITTEN = re.compile(r"(?:(?P<name>[\w.-]+)=)?(?P<path>.+?)(?::(?P<scale>-?\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter and how much of it is added.

    Attributes:
        name: What it is called in messages and run files; each name once.
        path: The GGUF file.
        scale: What its change is multiplied by.
    """

    name: str
    path: Path
    scale: float = 1.0

    @property
    def label(self) -> str:
        """How it is written on the command line."""
        return f"{self.name}={self.path}:{self.scale:g}"

    def digest(self) -> str:
        """Return the SHA-256 of the file (`sha256:...`)."""
        return sha256_of(self.path)


def parse_adapters(texts: Sequence[str]) -> tuple[Adapter, ...]:
    """Read `FILE`, `NAME=FILE` or `NAME=FILE:SCALE`; a file without a name is called by its own.

    Raises:
        UsageError: Two adapters have the same name.
    """
    adapters: dict[str, Adapter] = {}
    for text in texts:
        written = _WRITTEN.fullmatch(text)
        if written is None:
            raise UsageError(
                "--small-adapter: name a file, as in --small-adapter runs/small/export/small.lora.gguf"
            )
        path = Path(written["path"])
        adapter = Adapter(written["name"] or path.stem, path, float(written["scale"] or 1))
        if adapter.name in adapters:
            raise UsageError(
                f"--small-adapter {text}: there is one called {adapter.name} already; write NAME={path}"
            )
        adapters[adapter.name] = adapter
    return tuple(adapters.values())


def load_adapter(model: LlamaModel, adapter: Adapter) -> Any:
    """Load an adapter for a model, and return llama.cpp's handle; the model frees it.

    Raises:
        ModelError: The file is missing, no adapter, or one of another model.
    """
    if not adapter.path.is_file():
        raise ModelError(f"{adapter.path}: no such adapter; write one with lmcot export RUN --adapter-only")
    read_header(adapter.path)  # what is damaged is told of before llama.cpp sees it
    forget_errors()
    handle = llama().llama_adapter_lora_init(model.handle, str(adapter.path).encode())
    if not handle:
        raise ModelError(f"{adapter.path}: cannot be added to {model.path}: {first_error()}")
    return handle
