"""What a reply must be, enforced by a grammar, a mask over tokens, or a server's guided decoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Constraint:
    """Base of all constraints."""


@dataclass(frozen=True, slots=True)
class Choices(Constraint):
    """One of these strings, word for word."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Span(Constraint):
    """A run of whole words of one of these texts, or one of `also` (such as `yes` and `no`)."""

    texts: tuple[str, ...]
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Number(Constraint):
    """A number in digits: optional sign, thousands separated by commas or not, optional decimals."""


@dataclass(frozen=True, slots=True)
class JsonSchema(Constraint):
    """A JSON value that fits a schema.

    Attributes:
        text: The schema as canonical JSON, so that constraints are equal if their schemas are.
        schema: The schema, decoded.
    """

    text: str
    schema: Mapping[str, Any] = field(compare=False)
