"""Replies that come as a stream of events, though none was asked for: some gateways know nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_STARTS = (b"data:", b"event:", b":", b"id:", b"retry:")
_JOINED = ("content", "reasoning_content", "reasoning", "refusal")


def joined(body: bytes) -> bytes:
    """Return the reply that a stream of events holds, as one body of the API; any other body as it is."""
    if not body.lstrip().startswith(_STARTS):
        return body
    pieces = list(_events(body))
    whole = next((piece for piece in pieces if piece.get("error")), None) or _whole(pieces)
    return json.dumps(whole).encode()


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of the events, up to the first that is torn."""
    for line in body.splitlines():
        text = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or text == b"[DONE]":
            continue
        try:
            piece = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(piece, dict):
            yield piece


def _whole(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Put pieces together. A stream that breaks off has no finish reason, and so counts as broken off."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for piece in pieces:
        usage = piece.get("usage") or usage
        parts = piece.get("choices")
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict) and isinstance(index := part.get("index", 0), int):
                _add(choices.setdefault(index, {"index": index, "finish_reason": "abort"}), part)
    return {"choices": [choices[index] for index in sorted(choices)], "usage": usage}


def _add(choice: dict[str, Any], part: dict[str, Any]) -> None:
    """Add a piece of one choice to what is there of it."""
    if isinstance(part.get("text"), str):
        choice["text"] = choice.get("text", "") + part["text"]
    delta = part.get("delta") or part.get("message")
    if isinstance(delta, dict):
        message = choice.setdefault("message", {})
        message |= {name: value for name, value in delta.items() if name not in _JOINED}
        for name in _JOINED:
            if isinstance(delta.get(name), str):
                message[name] = message.get(name, "") + delta[name]
    choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
