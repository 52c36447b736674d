"""Answers in JSON: an object with an answer field, by itself, in a code fence or after a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_ANSWER_KEYS = (
    "answer", "finalanswer", "shortanswer", "finalresponse", "result", "response", "output", "value", "text",
)  # fmt: skip
_REASON_KEYS = (
    "reasoning", "rationale", "explanation", "thought", "thoughts", "analysis", "steps", "chainofthought",
)  # fmt: skip
_OBJECT = re.compile(r"\{\s*[\"'}]")
_UNFINISHED = re.compile(
    r"^\{.*?[\"'](?:final[ _-]?|short[ _-]?)?answer[\"']\s*:\s*"
    r"(?:\"(?P<double>(?:[^\"\\]|\\.)*)|'(?P<single>(?:[^'\\]|\\.)*)|(?P<bare>[^\s,{}\[\]\"']+))",
    re.IGNORECASE | re.DOTALL,
)
_MOST_TRIED = 16
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, strict=False)
"""Numbers keep their spelling: 1.50 is an answer, and 1.5 another spelling of it."""


class JsonAnswer(NamedTuple):
    """An answer that was found in JSON: where its object starts and ends, and the reason that it gives, if any."""

    start: int
    end: int
    answer: str
    reason: str | None


def json_answers(text: str) -> Iterator[JsonAnswer]:
    """Yield the answers of the JSON objects in a text, the last object first."""
    starts = [found.start() for found in _OBJECT.finditer(text)]
    for start in reversed(starts[:1] + starts[1:][-_MOST_TRIED:]):
        try:
            value, end = _DECODER.raw_decode(text, start)
            answer = _answer_of(value) if isinstance(value, dict) else None
        except (ValueError, RecursionError):
            continue
        if answer:
            yield JsonAnswer(start, end, answer, _field(value, _REASON_KEYS))


def leading_json(text: str) -> JsonAnswer | None:
    """Return the answer of the JSON object at the start of a text, even if it is cut or has single quotes."""
    start = len(text) - len(text.lstrip())
    if not _OBJECT.match(text, start):
        return None
    whole = next((one for one in json_answers(text) if one.start == start), None)
    if whole:
        return whole
    found = _UNFINISHED.match(text[start:])
    answer = _plain(next(filter(None, found.groups()), "")) if found else None
    return JsonAnswer(start, len(text), answer, None) if answer else None


def values(text: str) -> Iterator[Any]:
    """Yield the JSON values of a text: the text as a whole, else the objects and lists in it."""
    decoder = json.JSONDecoder(strict=False)
    try:
        value, end = decoder.raw_decode(stripped := text.strip())
        if end == len(stripped):
            yield value
            return
    except (ValueError, RecursionError):
        pass
    starts = [found.start() for found in re.finditer(r"[{\[]", text)]
    for start in starts[: 4 * _MOST_TRIED]:
        try:
            yield decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            continue


def _answer_of(value: Mapping[str, Any]) -> str | None:
    """Return the answer field, whatever the name of a single field with plain text or a number."""
    if answer := _field(value, _ANSWER_KEYS):
        return answer
    (only,) = value.values() if len(value) == 1 else (None,)
    return None if isinstance(only, dict | list) else _text(only)


def _field(value: Mapping[str, Any], names: Sequence[str]) -> str | None:
    by_name = {re.sub(r"[\W_]", "", key).lower(): one for key, one in value.items()}
    return next((text for name in names if name in by_name and (text := _text(by_name[name]))), None)


def _text(value: object) -> str | None:
    if isinstance(value, dict):
        return _answer_of(value)
    if isinstance(value, list):
        return ", ".join(text for one in value if (text := _text(one))) or None
    if value is None:
        return None
    return _plain(("false", "true")[value] if isinstance(value, bool) else str(value))


def _plain(text: str) -> str | None:
    return " ".join(text.split()) or None
