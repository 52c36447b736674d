"""Read replies that come as a stream of events though none was asked for: some gateways send nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

_STARTS = (b"data:", b"event:", b":", b"id:", b"retry:")
_LOOKED_AT = 256
"""Bytes in which a stream can be recognised."""
MOST_CHOICES = 4096
_JOINED = ("content", "reasoning_content", "reasoning", "refusal")


def joined(body: bytes) -> bytes:
    """Return the reply that a stream of events holds as one body; return any other body as it is."""
    if not body[:_LOOKED_AT].lstrip().startswith(_STARTS):
        return body
    choices: dict[int, _StreamedChoice] = {}
    usage = None
    for event in _events(body):
        if event.get("error"):
            return json.dumps(event).encode()
        usage = event.get("usage") or usage
        parts = event.get("choices")
        for part in parts if isinstance(parts, list) else []:
            index = part.get("index", 0) if isinstance(part, dict) else None
            if isinstance(index, int) and 0 <= index < MOST_CHOICES:
                choices.setdefault(index, _StreamedChoice(index)).add(part)
    whole = [choices[index].reply() for index in sorted(choices)]
    return json.dumps({"choices": whole, "usage": usage}).encode()


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of the events, up to the first torn one."""
    for line in BytesIO(body):
        text = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or text == b"[DONE]":
            continue
        try:
            piece = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(piece, dict):
            yield piece


@dataclass(slots=True)
class _StreamedChoice:
    """What has come of one choice: the pieces of each text, and the other fields.

    A stream that breaks off has no finish reason, and so counts as aborted.
    """

    index: int
    finish_reason: Any = "abort"
    texts: dict[str, list[str]] = field(default_factory=dict)
    message: dict[str, Any] | None = None

    def add(self, part: dict[str, Any]) -> None:
        """Add a piece."""
        self._add_text("text", part.get("text"))
        delta = part.get("delta") or part.get("message")
        if isinstance(delta, dict):
            self.message = {} if self.message is None else self.message
            self.message.update((name, delta[name]) for name in delta if name not in _JOINED)
            for name in _JOINED:
                self._add_text(name, delta.get(name))
        self.finish_reason = part.get("finish_reason") or self.finish_reason

    def reply(self) -> dict[str, Any]:
        """Return the choice as if it had come whole."""
        texts = {name: "".join(pieces) for name, pieces in self.texts.items()}
        choice = {"index": self.index, "finish_reason": self.finish_reason}
        if "text" in texts:
            choice["text"] = texts.pop("text")
        return choice if self.message is None else choice | {"message": self.message | texts}

    def _add_text(self, name: str, text: Any) -> None:
        if isinstance(text, str):
            self.texts.setdefault(name, []).append(text)
