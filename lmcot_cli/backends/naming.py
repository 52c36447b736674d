"""Names of models: who named a model, and which aliases a settings file may define.

A key is sent only where the user sends it. So a spec says who named it, all the way from the command line or a settings
file to the endpoint: `FromSettings` is a spec of a settings file; a string is one of the command line or the calling
program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from lmcot_cli.errors import ModelSpecError
from lmcot_cli.models import catalogue

RESERVED = ("builtin", "gguf", "hf", "transformers", "onnx", "openai", "http", "https", "scripted")
"""The words that specs begin with."""

_ALIAS = re.compile(r"\w[\w. -]*")


class NamedBy(Enum):
    """Who named a model."""

    COMMAND_LINE = "the command line, or the program that calls"
    SETTINGS = "a settings file"


@dataclass(frozen=True, slots=True)
class FromSettings:
    """A model spec that a settings file chooses, not the command line."""

    spec: str

    def __str__(self) -> str:
        return self.spec


ModelName: TypeAlias = str | FromSettings
"""A model spec, an alias or a name of the catalogue, and who named it."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A spec without aliases and names of the catalogue."""

    spec: str
    by: NamedBy


def resolve_name(name: ModelName, aliases: Mapping[str, str]) -> Resolved:
    """Replace an alias, or a name of the catalogue, by its spec.

    Raises:
        ModelSpecError: The name of an alias is not free.
    """
    spec, by = str(name), NamedBy.SETTINGS if isinstance(name, FromSettings) else NamedBy.COMMAND_LINE
    if spec in aliases:
        if taken := why_taken(spec):
            raise ModelSpecError(f"the alias {spec!r} of the settings file: {taken}")
        spec, by = aliases[spec], NamedBy.SETTINGS
    entry = catalogue.find(spec)
    return Resolved(entry.spec if entry else spec, by)


def why_taken(alias: str) -> str | None:
    """Return why a name cannot be an alias, None if it can: what names a model by itself keeps its meaning."""
    if catalogue.find(alias):
        return "is a model of lmcot models list: choose another name"
    if alias.lower() in RESERVED or not _ALIAS.fullmatch(alias) or alias.lower().endswith(".gguf"):
        return (
            "may be taken for a model spec or a file: choose a name of letters, digits, '.', '-' and '_', that no spec"
            " begins with"
        )
    return None
