"""What was found out about this machine, kept in the user's cache folder; without it, it is found out again."""

from __future__ import annotations

import platform
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from lmcot_cli.errors import OutputError
from lmcot_cli.files import replace_file


def memory_of(kind: str, *facts: object) -> Path:
    """Return the file for what is measured under these facts on this machine."""
    from platformdirs import user_cache_path

    known = (*facts, platform.node(), platform.machine())
    return user_cache_path("lmcot") / kind / sha256(repr(known).encode()).hexdigest()[:32]


def recall(memory: Path) -> str | None:
    """Return what is remembered; None if nothing is, or it cannot be read."""
    with suppress(OSError, ValueError):
        return memory.read_text()
    return None


def remember(text: str, memory: Path) -> None:
    """Keep a text, if the cache folder can be written."""
    with suppress(OSError, OutputError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        replace_file(memory, text.encode())
