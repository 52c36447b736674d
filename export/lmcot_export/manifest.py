"""`manifest.json`: what every exported file was made from, by SHA-256, so that no stale file is ever used again.

    {"format": 1, "lmcot": "0.1.0", "gguf": "0.19.0", "llama_cpp": "0.3.36",
     "source": {"folder": ..., "files": {"model.safetensors": "sha256..."}},
     "adapter": {...} or null, "tokenizer": {...},
     "outputs": {"tiny.q4_0.gguf": {"sha256": ..., "bytes": ..., "made_from": "sha256..."}}}

`made_from` digests everything that goes into a file: source, adapter, tokenizer, type, importance matrix and versions.
A file that is being written has an empty entry, so that what a killed export left is recognised; `verified` appears
once a file has passed.
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
from lmcot_cli.errors import OutputError
from lmcot_cli.files import hex_digest, read_object, write_json
from lmcot_cli.model_files.folder import loaded_files
from lmcot_export.merge import TOKENIZER_FILES, tokenizer_folder
from lmcot_export.source import ExportSource

FILE_NAME = "manifest.json"
UNVERIFIED, REJECTED = ".unverified", ".rejected"
"""What the name of an output ends in until it has been verified, and where it failed."""

_FORMAT = 1

Digests = Mapping[str, str]


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
        """Return one digest of the ingredients and an output's settings."""
        parts = [self.source, self.adapter, self.tokenizer, self.versions, settings]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def ingredients(source: ExportSource) -> Ingredients:
    """Digest the files of a source; seconds for large ones."""
    texts = _tokenizer_folder(source)
    return Ingredients(
        source=_digests(source.model, loaded_files(source.model)),
        adapter=None if source.adapter is None else _digests(source.adapter, loaded_files(source.adapter)),
        tokenizer=_digests(texts, [texts / name for name in TOKENIZER_FILES]),
    )


def suffixed(path: Path, suffix: str) -> Path:
    """Return the name an output has before it is verified, or where it failed."""
    return path.with_name(path.name + suffix)


class Manifest:
    """The manifest of an output folder; outputs are files, or folders of files.

    Raises:
        OutputError: There is a `manifest.json` that no export wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME
        self._outputs: dict[str, dict[str, Any]] = _read_outputs(self._path) if _is_there(self._path) else {}

    def claim(self, path: Path) -> None:
        """Refuse to replace a file that no export wrote.

        Raises:
            OutputError: Something else is there, under its name or one that verification gives it.
        """
        known = {_plain(name.partition("/")[0]) for name in self._outputs}
        for place in (path, suffixed(path, UNVERIFIED), suffixed(path, REJECTED)):
            if _is_there(place) and path.name not in known:
                raise OutputError(
                    f"{place}: is in the way, and no export wrote it; move it away, or choose another -o"
                )

    def holds(self, path: Path, made_from: str) -> bool:
        """Whether an output is there, is unchanged, and was made from the same ingredients."""
        names = self._names(path)
        return bool(names) and all(self._is_intact(name, made_from) for name in names)

    def begin(self, path: Path) -> None:
        """Note that an output is about to be written."""
        self.forget(path)
        self._outputs[self._key(path)] = {}

    def record(self, path: Path, made_from: str) -> None:
        """Note an output that has just been written."""
        self.forget(path)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                size = file.stat().st_size
                self._outputs[self._key(file)] = {
                    "sha256": hex_digest(file),
                    "bytes": size,
                    "made_from": made_from,
                }

    def forget(self, path: Path) -> None:
        """Remove an output's entries."""
        for name in self._names(path):
            del self._outputs[name]

    def rename(self, old: Path, new: Path) -> None:
        """Note that an output has another name now."""
        self.forget(new)
        start = self._key(old)
        for name in self._names(old):
            self._outputs[self._key(new) + name.removeprefix(start)] = self._outputs.pop(name)

    def mark_verified(self, path: Path) -> None:
        """Note that an output has passed verification."""
        for name in self._names(path):
            self._outputs[name]["verified"] = True

    def is_verified(self, path: Path) -> bool:
        """Whether an output has passed verification."""
        return all(self._outputs[name].get("verified") is True for name in self._names(path))

    def _is_intact(self, name: str, made_from: str) -> bool:
        entry, file = self._outputs[name], self._folder / name
        if entry.get("made_from") != made_from or not file.is_file():
            return False
        return file.stat().st_size == entry.get("bytes") and hex_digest(file) == entry.get("sha256")

    def _names(self, path: Path) -> list[str]:
        """Name the entries of an output: its own, or those of the files in it."""
        key = self._key(path)
        return [name for name in self._outputs if name == key or name.startswith(f"{key}/")]

    def _key(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def write(self, source: ExportSource, made_of: Ingredients) -> None:
        """Write `manifest.json`.

        Raises:
            OutputError: It cannot be written.
        """
        outputs = self._outputs.items()
        here = {name: entry for name, entry in outputs if not entry or (self._folder / name).is_file()}
        content = {
            "format": _FORMAT,
            **made_of.versions,
            "source": {"folder": str(source.model.resolve()), "files": made_of.source},
            "adapter": made_of.adapter
            and {"folder": str(source.adapter and source.adapter.resolve()), "files": made_of.adapter},
            "tokenizer": made_of.tokenizer,
            "outputs": here,
        }
        write_json(self._path, content)


def _tokenizer_folder(source: ExportSource) -> Path:
    return source.model if source.adapter is None else tokenizer_folder(source.model, source.adapter)


def _digests(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): hex_digest(file) for file in files if file.is_file()}


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _plain(name: str) -> str:
    return name.removesuffix(UNVERIFIED).removesuffix(REJECTED)


def _read_outputs(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = read_object(path, OutputError)
        outputs = dict(content["outputs"]) if content["format"] == _FORMAT else None
    except (OutputError, KeyError, TypeError, ValueError):
        outputs = None
    if outputs is None or not all(isinstance(entry, dict) for entry in outputs.values()):
        raise OutputError(
            f"{path}: is in the way, and is no manifest of an export; move it away, or choose another -o"
        )
    return outputs
