"""Fields that the user adds to each request: `--request-field NAME=JSON`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from lmcot_cli.errors import UsageError

_OPTION = "--request-field"
_SHOWN = 80
"""Characters of a wrong value that are shown."""

_OURS = {
    "model": "the model spec names the model",
    "messages": "lmcot writes the prompt",
    "prompt": "lmcot writes the prompt",
    "n": "lmcot asks for as many choices as it needs",
    "stream": "lmcot reads whole replies",
    "stop": "lmcot decides where replies end",
    "max_tokens": "use --max-tokens and --max-answer-tokens",
    "max_completion_tokens": "use --max-tokens and --max-answer-tokens",
    "temperature": "use --temperature",
    "top_p": "use --top-p",
    "seed": "use --seed",
    "logprobs": "lmcot asks for them itself",
}


def parse_fields(written: Iterable[str]) -> dict[str, Any]:
    """Read fields, each written `NAME=JSON`.

    Raises:
        UsageError: A field has another form, a name that lmcot sets itself, or a value that is not JSON.
    """
    fields: dict[str, Any] = {}
    for field in written:
        name, equals, text = field.partition("=")
        name = name.strip()
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise UsageError(
                f"{_OPTION} {_short(field)}: write NAME=JSON, such as reasoning_effort='\"low\"'"
            )
        if name in _OURS:
            raise UsageError(f"{_OPTION} {name}: {_OURS[name]}")
        if name in fields:
            raise UsageError(f"{_OPTION} {name} is given twice: leave one of them out")
        fields[name] = _value(name, text)
    return fields


def _value(name: str, text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be sent
        return value
    except (ValueError, RecursionError):
        quoted = f"; a string is written {name}='\"{text}\"'" if re.fullmatch(r"[\w.-]+", text) else ""
        raise UsageError(f"{_OPTION} {name}={_short(text)}: the value is no JSON{quoted}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _short(text: str) -> str:
    """Show the beginning of a value on one line."""
    shown = text if text.isprintable() else repr(text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
