"""`manifest.json`: what every exported file was made from, by SHA-256, so that no stale file is ever used again.

    {"format": 1, "lmcot": "0.1.0", "gguf": "0.19.0", "llama_cpp": "0.3.36",
     "source": {"folder": ..., "files": {"model.safetensors": "sha256..."}},
     "adapter": {...} or null, "tokenizer": {...},
     "outputs": {"tiny.q4_0.gguf": {"sha256": ..., "bytes": ..., "made_from": "sha256..."}}}

`made_from` digests all that goes into a file: source, adapter, tokenizer, type, importance matrix and versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lmcot_cli import __version__
from lmcot_export.atomic import replacing
from lmcot_export.lora import CONFIG, WEIGHTS
from lmcot_export.merge import TOKENIZER_FILES, tokenizer_folder
from lmcot_export.source import Source

FILE_NAME = "manifest.json"
_FORMAT = 1

Digests = Mapping[str, str]


def sha256(path: Path) -> str:
    """Return a file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Ingredients:
    """The digests of everything that goes into an export.

    Attributes:
        source: The model's own files.
        adapter: The adapter's; None without one.
        tokenizer: The tokenizer's, the adapter's where it brings one.
        versions: What converts: lmcot, gguf and llama-cpp-python.
    """

    source: Digests
    adapter: Digests | None
    tokenizer: Digests
    versions: Digests = field(
        default_factory=lambda: {
            "lmcot": __version__,
            "gguf": version("gguf"),
            "llama_cpp": version("llama-cpp-python"),
        }
    )

    def digest(self, *settings: object) -> str:
        """Return one digest of all of it and of an output's settings."""
        parts = [self.source, self.adapter, self.tokenizer, self.versions, settings]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def ingredients(source: Source) -> Ingredients:
    """Digest the files of a source; seconds for large ones."""
    weights = [
        *sorted(source.model.glob("*.safetensors")),
        *sorted(source.model.glob("*.safetensors.index.json")),
    ]
    settings = [source.model / "config.json", source.model / "generation_config.json"]
    texts = _tokenizer_folder(source)
    adapter = [source.adapter / WEIGHTS, source.adapter / CONFIG] if source.adapter else None
    return Ingredients(
        source=_digests([*weights, *settings]),
        adapter=None if adapter is None else _digests(adapter),
        tokenizer=_digests(texts / name for name in TOKENIZER_FILES),
    )


class Manifest:
    """The manifest of an output folder.

    A manifest that cannot be read counts as none: everything is then made anew.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME
        self._outputs: dict[str, dict[str, Any]] = _read_outputs(self._path)

    def holds(self, path: Path, made_from: str) -> bool:
        """Whether a file is there, is the one that was written, and was made from the same things."""
        entry = self._outputs.get(self._key(path))
        if entry is None or entry.get("made_from") != made_from or not path.is_file():
            return False
        return path.stat().st_size == entry.get("bytes") and sha256(path) == entry.get("sha256")

    def record(self, path: Path, made_from: str) -> None:
        """Note a file that has just been written."""
        self._outputs[self._key(path)] = {
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
            "made_from": made_from,
        }

    def forget(self, path: Path) -> None:
        """Strike a file out."""
        self._outputs.pop(self._key(path), None)

    def _key(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def write(self, source: Source, made_of: Ingredients) -> None:
        """Write `manifest.json`.

        Raises:
            OutputError: It cannot be written.
        """
        here = {name: entry for name, entry in self._outputs.items() if (self._path.parent / name).is_file()}
        content = {
            "format": _FORMAT,
            **made_of.versions,
            "source": {"folder": str(source.model.resolve()), "files": made_of.source},
            "adapter": made_of.adapter
            and {"folder": str(source.adapter and source.adapter.resolve()), "files": made_of.adapter},
            "tokenizer": made_of.tokenizer,
            "outputs": here,
        }
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _tokenizer_folder(source: Source) -> Path:
    return source.model if source.adapter is None else tokenizer_folder(source.model, source.adapter)


def _digests(files: Iterable[Path]) -> dict[str, str]:
    return {file.name: sha256(file) for file in files if file.is_file()}


def _read_outputs(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["outputs"]) if content["format"] == _FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
