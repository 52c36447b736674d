r"""A backend that reads its replies from a file: the test double that ships with the tool (`scripted:FILE`).

The file is JSONL. A line is a string, or an object of

    text           the reply, verbatim; or a list of replies, of which the request's seed picks one
    match          optional: the reply answers every prompt that contains this string, any number of times; what
                   stands before the prompt (system message, examples) is not looked at
    finish_reason  optional: "stop" (the default) or "length"
    logprob        optional: the mean log-probability to report
    seconds        optional: how long writing the reply takes, to stand in for a model that takes its time

A prompt is answered by the first line whose `match` it contains, else by the next line without `match`, each
of which answers once. Where no line is left, the run ends with an error. So a file of `match` lines gives the
same replies whatever was asked before (what a test of resuming needs), and a file without them plays a scene
in order.

    {"match": "Rationale:\nParis", "text": "France."}
    {"match": "Where", "text": ["In Paris.", "In Lyon."]}
    "The first reply to a prompt that no line matches."
    {"text": "The second one, cut short", "finish_reason": "length"}
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lmcot_cli.backends.base import (
    POLL_SECONDS,
    BatchBackend,
    Completion,
    ModelIdentity,
    Reply,
    Request,
    Sampling,
)
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.errors import ModelError, RowError

WINDOW = 64
"""A reply is there at once; the window only bounds how far rows are read ahead."""


class ScriptedReply(BaseModel):
    """One line of the script."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    text: str | Annotated[list[str], Field(min_length=1)]
    match: str | None = None
    finish_reason: Literal["stop", "length"] = "stop"
    logprob: float | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def completion(self, request: Request) -> Completion:
        """Answer `request`; words stand in for tokens in the counts."""
        text = self.text if isinstance(self.text, str) else self.text[request.seed % len(self.text)]
        words = len(text.split())
        return Completion(text, len(request.text.split()), words, self.finish_reason, self.logprob)


_LINE: TypeAdapter[str | ScriptedReply] = TypeAdapter(str | ScriptedReply)


class ScriptedBackend(BatchBackend):
    """Replies from a file; sampling settings and stop strings play no part.

    Args:
        path: The script.
        options: Not used: they are the llama.cpp engine's.
        spec: What the user called the model; `scripted:PATH` where not given.

    Raises:
        ModelError: The file cannot be read, or a line is not as the module describes.
    """

    def __init__(self, path: Path, options: EngineOptions | None = None, spec: str | None = None) -> None:
        super().__init__(WINDOW)
        self._path = path
        content = _read(path)
        replies = [_parse(line, f"{path}:{number}") for number, line in enumerate(content.splitlines(), 1)]
        self._matching = [reply for reply in replies if reply.match is not None]
        self._in_order = deque(reply for reply in replies if reply.match is None)
        self._takes_time = any(reply.seconds for reply in replies)
        self._at_work: tuple[int, ScriptedReply, float] | None = None
        digest = hashlib.sha256(content).hexdigest()
        self.identity = ModelIdentity(spec or f"scripted:{path}", f"sha256:{digest}")

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Reply to each request in turn.

        Raises:
            ModelError: No reply is left.
        """
        replies = [self._reply(request) for request in requests]
        time.sleep(sum(reply.seconds for reply in replies))
        return [reply.completion(request) for reply, request in zip(replies, requests, strict=True)]

    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Return the replies that are written by now, one after another; see `Backend.poll`.

        Raises:
            ModelError: No reply is left.
        """
        if not self._takes_time:
            return super().poll(wait=wait)
        done: list[Reply] = []
        until = time.monotonic() + POLL_SECONDS
        while wait and self._handed_in and len(done) < self.window and (not done or time.monotonic() < until):
            ticket, request, _ = self._handed_in[0]
            if self._at_work is None:
                reply = self._reply(request)
                self._at_work = ticket, reply, time.monotonic() + reply.seconds
            _, reply, ready_at = self._at_work
            if ready_at > until:
                time.sleep(max(until - time.monotonic(), 0))
                break
            time.sleep(max(ready_at - time.monotonic(), 0))
            done.append((ticket, reply.completion(request)))
            self._at_work = None
            del self._handed_in[0]
        return done

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop pending requests; see `Backend.cancel`."""
        super().cancel(tickets)
        if self._at_work and self._at_work[0] in tickets:
            self._at_work = None

    def close(self) -> None:
        """Hold nothing, free nothing."""

    def _reply(self, request: Request) -> ScriptedReply:
        for reply in self._matching:
            if reply.match is not None and reply.match in request.prompt:
                return reply
        if not self._in_order:
            end = request.prompt[-60:]
            raise ModelError(f"{self._path}: no reply is left for a prompt that ends in {end!r}; add a line")
        return self._in_order.popleft()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: the script cannot be read: {error.strerror}; check the path") from error


def _parse(line: bytes, place: str) -> ScriptedReply:
    try:
        reply = _LINE.validate_json(line)
    except ValidationError as error:
        form = '"TEXT" or {"text": "TEXT"}'
        raise ModelError(f"{place}: not a reply; write {form} ({_reason(error)})") from error
    return ScriptedReply(text=reply) if isinstance(reply, str) else reply


def _reason(error: ValidationError) -> str:
    """Name the first fault with its key; that an object is not a string is no help."""
    faults = [fault for fault in error.errors() if fault["loc"][:1] != ("str",)] or error.errors()
    path, message = faults[0]["loc"], faults[0]["msg"]
    return f"{path[1]}: {message}" if len(path) > 1 else message
