"""LoRA adapters in GGUF, added to a model when it runs, whatever the type of the model's weights.

`lmcot export --adapter-only` writes them. Several may be added at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.files import sha256_of
from lmcot_cli.model_files.gguf_header import read_header

_WRITTEN = re.compile(r"(?:(?P<name>[\w.-]+)=)?(?P<path>.+?)(?::(?P<scale>-?\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter and its scale.

    Attributes:
        name: Its name in messages and run files; unique.
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
    """Read `FILE`, `NAME=FILE` or `NAME=FILE:SCALE`; by default the name is that of the file.

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
    """Load an adapter for a model, and return llama.cpp's handle, which the model frees.

    Raises:
        ModelError: The file is missing, is no adapter, or is one of another model.
    """
    if not adapter.path.is_file():
        raise ModelError(f"{adapter.path}: no such adapter; write one with lmcot export RUN --adapter-only")
    read_header(adapter.path)  # refuses a damaged file before llama.cpp sees it
    forget_errors()
    handle = llama().llama_adapter_lora_init(model.handle, str(adapter.path).encode())
    if not handle:
        raise ModelError(f"{adapter.path}: cannot be added to {model.path}: {first_error()}")
    return handle
