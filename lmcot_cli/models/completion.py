"""Names of models, for the shell's completion and for messages that name the nearest one."""

from __future__ import annotations

from pathlib import Path

from lmcot_cli.models import catalogue, embedded


def model_names() -> list[str]:
    """Return the specs of the embedded models and the names of the catalogue."""
    return [
        *(embedded.SCHEME + name for name in embedded.NAMES),
        *(entry.name for entry in catalogue.CATALOGUE),
    ]


def complete_catalogue(incomplete: str) -> list[str]:
    """Return the names of the catalogue that begin with what was typed so far."""
    return [entry.name for entry in catalogue.CATALOGUE if entry.name.startswith(incomplete)]


def complete_spec(incomplete: str) -> list[str]:
    """Return the models, GGUF files and folders whose names begin with what was typed so far."""
    return [name for name in model_names() if name.startswith(incomplete)] + _files(incomplete)


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
