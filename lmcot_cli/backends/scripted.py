r"""A backend that reads its replies from a file: the test double that ships with the tool (`scripted:FILE`).

The file is JSONL. A line is a string, or an object of

    text           the reply, verbatim; or a list of replies, of which the request's seed picks one
    match          optional: the reply answers every prompt that contains this string, any number of times; what
                   precedes the prompt (system message, examples) is ignored
    finish_reason  optional: "stop" (the default) or "length"
    logprob        optional: the mean log-probability to report
    seconds        optional: how long the reply takes, to stand in for a slow model

A prompt is answered by the first line whose `match` it contains, else by the next line without `match`, each of which
answers once. Where no line is left, the run ends with an error. So a file of `match` lines gives the same replies
whatever was asked before (as a test of resuming needs), and a file without them gives its replies in order.

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

from lmcot_cli.backends.base import POLL_SECONDS, Backend, Completion, ModelIdentity, Reply, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.errors import ModelError, RowError

WINDOW = 64
"""Replies take no time; the window only limits how far rows are read ahead."""


class ScriptedReply(BaseModel):
    """One line of the script."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    text: str | Annotated[list[str], Field(min_length=1)]
    match: str | None = None
    finish_reason: Literal["stop", "length"] = "stop"
    logprob: float | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def completion(self, request: Request) -> Completion:
        """Return the completion of a request; words count as tokens."""
        text = self.text if isinstance(self.text, str) else self.text[request.seed % len(self.text)]
        words = len(text.split())
        return Completion(text, len(request.text.split()), words, self.finish_reason, self.logprob)


_LINE: TypeAdapter[str | ScriptedReply] = TypeAdapter(str | ScriptedReply)


class ScriptedBackend(Backend):
    """Replies from a file; sampling settings and stop strings have no effect.

    Args:
        path: The script.
        options: Not used: they are for engines.
        spec: What the user called the model; by default `scripted:PATH`.

    Raises:
        ModelError: The file cannot be read, or a line is not as the module describes.
    """

    window = WINDOW

    def __init__(self, path: Path, options: EngineOptions | None = None, spec: str | None = None) -> None:
        self._path = path
        content = _read(path)
        replies = [_parse(line, f"{path}:{number}") for number, line in enumerate(content.splitlines(), 1)]
        self._matching = [reply for reply in replies if reply.match is not None]
        self._in_order = deque(reply for reply in replies if reply.match is None)
        self._takes_time = any(reply.seconds for reply in replies)
        self._submitted: list[tuple[int, Request, Sampling]] = []
        self._in_progress: tuple[int, ScriptedReply, float] | None = None
        digest = hashlib.sha256(content).hexdigest()
        self.identity = ModelIdentity(spec or f"scripted:{path}", f"sha256:{digest}")

    @property
    def pending(self) -> int:
        """Submitted requests whose replies have not been collected."""
        return len(self._submitted)

    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        """Keep a request for the next poll."""
        self._submitted.append((ticket, request, sampling))

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Reply to each request in turn.

        Raises:
            ModelError: No reply is left.
        """
        replies = [self._reply(request) for request in requests]
        time.sleep(sum(reply.seconds for reply in replies))
        return [reply.completion(request) for reply, request in zip(replies, requests, strict=True)]

    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Return the replies that are written by now; see `Backend.poll`.

        Raises:
            ModelError: No reply is left.
        """
        if not wait or not self._submitted:
            return []
        return self._poll_timed() if self._takes_time else self._poll_batch()

    def _poll_batch(self) -> list[Reply]:
        """Reply at once to the first requests that are sampled alike."""
        sampling = self._submitted[0][2]
        batch = [one for one in self._submitted if one[2] == sampling][: self.window]
        replies = self.complete([request for _, request, _ in batch], sampling)
        self._submitted = [one for one in self._submitted if one not in batch]
        return [(ticket, reply) for (ticket, _, _), reply in zip(batch, replies, strict=True)]

    def _poll_timed(self) -> list[Reply]:
        """Return the replies that are written before the poll ends, one after another."""
        done: list[Reply] = []
        until = time.monotonic() + POLL_SECONDS
        while self._submitted and len(done) < self.window and (not done or time.monotonic() < until):
            ticket, request, _ = self._submitted[0]
            if self._in_progress is None:
                reply = self._reply(request)
                self._in_progress = ticket, reply, time.monotonic() + reply.seconds
            _, reply, ready_at = self._in_progress
            if ready_at > until:
                time.sleep(max(until - time.monotonic(), 0))
                break
            time.sleep(max(ready_at - time.monotonic(), 0))
            done.append((ticket, reply.completion(request)))
            self._in_progress = None
            del self._submitted[0]
        return done

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop pending requests; see `Backend.cancel`."""
        self._submitted = [one for one in self._submitted if one[0] not in tickets]
        if self._in_progress and self._in_progress[0] in tickets:
            self._in_progress = None

    def reset(self) -> None:
        """Do nothing: no reply depends on earlier requests, except through the script."""

    def close(self) -> None:
        """Do nothing: there is no model to free."""

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
    """Return the first fault with its key, other than that an object is not a string."""
    faults = [fault for fault in error.errors() if fault["loc"][:1] != ("str",)] or error.errors()
    path, message = faults[0]["loc"], faults[0]["msg"]
    return f"{path[1]}: {message}" if len(path) > 1 else message
