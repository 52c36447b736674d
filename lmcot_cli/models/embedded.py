"""The embedded pair: two GGUF files in this folder, their checksums, and their card.

They are a demonstration and a test bed, trained on invented facts; they know nothing about the real world.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from lmcot_cli.errors import ModelError, ModelSpecError
from lmcot_cli.files import hex_digest

NAMES = ("small", "large")
SCHEME = "builtin:"
FOLDER = Path(__file__).parent
PURPOSE = "a demonstration and a test bed; use real models for real questions"


class Integrity(Enum):
    """How an embedded file compares with `checksums.txt`."""

    OK = "ok"
    MISSING = "missing"
    CHANGED = "changed"


def path_of(spec: str) -> Path:
    """Return the file that `builtin:small` or `builtin:large` stands for.

    Raises:
        ModelSpecError: There is no embedded model of that name.
        ModelError: The file is missing from this installation.
    """
    name = spec.removeprefix(SCHEME)
    if name not in NAMES:
        known = ", ".join(SCHEME + known for known in NAMES)
        raise ModelSpecError(f"no embedded model {spec!r}; there are {known}")
    path = FOLDER / f"{name}.gguf"
    if not path.is_file():
        raise ModelError(f"{path}: the embedded model is missing from this installation; reinstall lmcot")
    return path


def integrity(name: str, folder: Path | None = None) -> Integrity:
    """Compare `NAME.gguf` in `folder` (by default, this one) with the SHA-256 in its `checksums.txt`.

    Raises:
        ModelError: `checksums.txt` is missing or has no line for the file.
    """
    folder = folder or FOLDER
    path = folder / f"{name}.gguf"
    if not path.is_file():
        return Integrity.MISSING
    return (
        Integrity.OK
        if hex_digest(path) == _stated(path.name, folder / "checksums.txt")
        else Integrity.CHANGED
    )


def card() -> str:
    """Return the model card (Markdown)."""
    return (FOLDER / "CARD.md").read_text(encoding="utf-8")


def _stated(file_name: str, checksums: Path) -> str:
    """Return the digest of `file_name` in a file of `sha256sum` lines: digest, two spaces, name."""
    if checksums.is_file():
        for line in checksums.read_text(encoding="utf-8").splitlines():
            digest, _, name = line.partition("  ")
            if name.strip() == file_name:
                return digest
    raise ModelError(f"{checksums}: no checksum of {file_name}; reinstall lmcot")
