"""Model specs that begin as what was typed so far, for the shell's completion."""

from __future__ import annotations

from pathlib import Path

from lmcot_cli.models import catalogue, embedded


def complete_spec(incomplete: str) -> list[str]:
    """Return the embedded models, the names of the catalogue, and the GGUF files and folders there are."""
    names = [f"{embedded.SCHEME}{role}" for role in ("small", "large")]
    names += [entry.name for entry in catalogue.CATALOGUE]
    return [name for name in names if name.startswith(incomplete)] + _files(incomplete)


def _files(incomplete: str) -> list[str]:
    folder, _, beginning = incomplete.rpartition("/")
    start = Path(folder or ("/" if incomplete.startswith("/") else "."))
    try:
        found = sorted(path for path in start.iterdir() if path.name.startswith(beginning))
    except OSError:
        return []
    prefix = incomplete[: len(incomplete) - len(beginning)]
    hidden = beginning.startswith(".")
    return [
        f"{prefix}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if (path.is_dir() or path.suffix == ".gguf") and (hidden or not path.name.startswith("."))
    ]
