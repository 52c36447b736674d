"""Hold a chat reply to a constraint by `response_format`, which OpenAI, vLLM, SGLang, llama-server and others know.

A choice or a number is asked for as a JSON object with one field, for OpenAI wants an object at the top, and the value
is taken out of the reply. An endpoint that passes over the field replies in its own words; those stay as they are.
"""

from __future__ import annotations

import json
from typing import Any

from lmcot_cli.backends.constraint import Choices, Constraint, JsonSchema, Number

ENFORCED: frozenset[type[Constraint]] = frozenset({Choices, Number, JsonSchema})
"""Kinds of constraint that a schema can express; a run of words of a text is not one."""

_FIELD = "answer"
WRAPPING_TOKENS = 16
"""Tokens that braces, name and white space of the object take at most."""


def response_format(constraint: Constraint | None) -> dict[str, Any] | None:
    """Write a constraint as a `response_format`; None for one that no schema can express."""
    match constraint:
        case JsonSchema(schema=schema):
            return _format(dict(schema), strict=_is_closed(schema))
        case Choices(texts=texts):
            return _format(_object({"type": "string", "enum": list(texts)}), strict=True)
        case Number():
            return _format(_object({"type": "number"}), strict=True)
    return None


def unwrapped(text: str, constraint: Constraint | None) -> str:
    """Take the value out of the object that `response_format` asked for."""
    if not isinstance(constraint, Choices | Number):
        return text
    try:
        held = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return text
    value = held.get(_FIELD) if isinstance(held, dict) and len(held) == 1 else None
    return value if isinstance(value, str) else text


def _object(value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {_FIELD: value},
        "required": [_FIELD],
        "additionalProperties": False,
    }


def _format(schema: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": _FIELD, "schema": schema, "strict": strict}}


def _is_closed(schema: Any) -> bool:
    """Whether a schema is one that OpenAI enforces strictly: an object whose fields are all named and required."""
    named = schema.get("properties")
    return (
        schema.get("additionalProperties") is False
        and isinstance(named, dict)
        and set(named) == set(schema.get("required", ()))
    )
