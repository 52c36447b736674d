"""What was measured on this machine, kept in the user's cache folder; without one it is measured again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def recall(memory: Path) -> str | None:
    """Return what is remembered; None where there is nothing, or it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return memory.read_text()
    return None


def remember(text: str, memory: Path) -> None:
    """Keep a text, whole or not at all."""
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        draft = memory.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        draft.replace(memory)
