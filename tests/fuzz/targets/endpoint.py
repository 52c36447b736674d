"""What an endpoint sends: replies, streams of events, errors, headers; and the replies that were kept."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncGenerator
from math import isfinite

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.constraint import Choices
from lmcot_cli.backends.endpoint.bodies import ERROR_BYTES, Bodies, BodyError
from lmcot_cli.backends.endpoint.cache import ReplyCache
from lmcot_cli.backends.endpoint.faults import Refusal, Transient, judge_body, judge_status, retry_after
from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.backends.endpoint.reply import UnusableReplyError, read_models, read_owners, read_reply
from lmcot_cli.backends.endpoint.stream import joined
from lmcot_cli.errors import ModelError
from tests.fuzz.target import Target, folder_of, text_of

SECRET = "sk-planted-0123456789"
KEY = ApiKey(SECRET, "check the key")
REQUEST = Request("Who?", 7, constraint=Choices(("yes", "no")))
SAMPLING = Sampling(stop=("\n\n",))
REPLY = {
    "id": "1", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "<think>a</think>Lyon"},
         "logprobs": {"content": [{"token": "a", "logprob": -0.5}]}},
        {"index": 1, "finish_reason": "length", "text": "x", "logprobs": {"token_logprobs": [None, -1.0]}},
        {"index": 2, "message": {"content": [{"type": "text", "text": "t"}], "reasoning_content": "r", "refusal": None,
                                 "tool_calls": [{"function": {"name": "f"}}]}},
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 1}},
}  # fmt: skip
EVENTS = (
    b'data: {"choices": [{"delta": {"role": "assistant", "content": "Ly"}}]}\n\n: ping\nevent: x\n'
    b'data: {"choices": [{"delta": {"content": "on"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}\n\n'
    b"data: [DONE]\n"
)
ERRORS = (
    b'{"error": {"message": "Rate limit for sk-planted-0123456789", "type": "rate_limit", "code": 429, "param": "n"}}',
    b'{"error": "context length exceeded"}',
    b'{"detail": [{"msg": "no"}], "object": "error"}',
    b'{"error": {"code": "x", "metadata": {"raw": "{\\"a\\": 1}"}}}',
    b"<html>502</html>",
)


def reply(data: bytes) -> None:
    """Read a body that came with status 200: a list of models, or a reply."""
    read_models(data)
    read_owners(data)
    body = joined(data)
    fault = judge_body(body, KEY, "host")
    assert fault is None or SECRET not in told(fault)
    try:
        answered = read_reply(body, REQUEST, SAMPLING, 3)
    except UnusableReplyError as error:
        assert "\n" not in str(error)
        return
    assert 0 < len(answered.replies) <= 3
    assert answered.usage.prompt_tokens >= 0 <= answered.usage.completion_tokens
    for one in answered.replies:
        assert not isinstance(one, Completion) or one.logprob is None or isfinite(one.logprob)
        str(one).encode("utf-8", "surrogatepass")


def told(fault: Transient | Refusal | ModelError) -> str:
    """Return what a user is told of a fault."""
    return f"{fault.reason} {fault.refusal}" if isinstance(fault, Transient) else str(fault)


class Arriving:
    """A reply whose body arrives in pieces."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status_code, self.headers, self._body = status, headers, body

    async def aiter_raw(self) -> AsyncGenerator[bytes, None]:
        """Yield the body."""
        for begin in range(0, len(self._body), 100):
            yield self._body[begin : begin + 100]


def bodies(data: bytes) -> None:
    """Read a body, compressed and as it is, up to a bound: whatever comes is no longer, and whole."""
    most = 3000
    for headers in ({}, {"content-encoding": "gzip"}, {"content-encoding": text_of(data[:8])}):
        for status in (200, 500):
            try:
                body = asyncio.run(Bodies(most).read(Arriving(status, headers, data)))
            except BodyError as error:
                assert "\n" not in str(error)
                continue
            assert len(body) <= (most if status == 200 else ERROR_BYTES)
            if not headers and status == 200:
                assert body == data


def stream(data: bytes) -> None:
    """Put events together: what they say is whole, whichever pieces it came in."""
    joined(data)
    text = text_of(data)
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    events = [json.dumps({"choices": [{"delta": {"content": piece}}]}) for piece in pieces]
    body = b"".join(b"data: " + event.encode() + b"\n\n" for event in events)
    choices = json.loads(joined(body))["choices"] if body else []
    assert not choices or choices[0].get("message", {}).get("content", "") == text


def errors(data: bytes) -> None:
    """Judge the body of an error: the key is in no message."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = text_of(data)
    for status in (302, 400, 401, 403, 429, 500):
        fault = judge_status(status, {}, body, KEY, "host")
        message = told(fault)
        assert SECRET not in message and "\n" not in message


def waits(data: bytes) -> None:
    """Read how long an endpoint asks to wait."""
    text = data.decode("latin-1")
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after({name: text})
        assert seconds is None or (seconds >= 0 and isfinite(seconds))


def kept_reply(data: bytes) -> None:
    """Read an entry of the reply cache that somebody else wrote."""
    with folder_of() as folder:
        cache = ReplyCache(folder / "replies.sqlite")
        try:
            cache._database.execute("INSERT INTO replies VALUES (?, ?)", (b"1", data))
            cache._database.execute("INSERT INTO replies VALUES (?, ?)", (b"2", text_of(data)))
            for digest in (b"1", b"2"):
                found = cache.find(digest)
                assert found is None or isinstance(found, Completion)
        finally:
            cache.close()


def kept_file(data: bytes) -> None:
    """Open a file that is said to be a reply cache."""
    with folder_of(replies_sqlite=data) as folder:
        cache = ReplyCache(folder / "replies.sqlite")
        try:
            cache.find(b"1")
            cache.keep(b"1", Completion("a", 1, 1, "stop", None))
        finally:
            cache.close()


def cache_file() -> bytes:
    """Write a reply cache with one reply in it."""
    with folder_of() as folder:
        cache = ReplyCache(folder / "replies.sqlite")
        cache.keep(b"1", Completion("a", 1, 1, "stop", None))
        cache._database.execute("PRAGMA journal_mode = DELETE")
        cache.close()
        return (folder / "replies.sqlite").read_bytes()


LISTED = b'{"data": [{"id": "a", "owned_by": "vllm"}]}'
KEPT = (
    b'{"text": "Lyon", "prompt_tokens": 3, "completion_tokens": 1, "finish_reason": "stop", "logprob": -0.5,'
    b' "cached": false, "seeded": true, "thought": {"tokens": 1, "text": "a", "finished": true}}'
)

TARGETS = {
    "endpoint_reply": Target(reply, (json.dumps(REPLY).encode(), EVENTS, *ERRORS, LISTED)),
    "endpoint_bodies": Target(
        bodies, (b'{"choices": []}', gzip.compress(EVENTS, mtime=0), gzip.compress(bytes(9000), mtime=0))
    ),
    "endpoint_stream": Target(stream, (EVENTS,)),
    "endpoint_errors": Target(errors, ERRORS),
    "endpoint_waits": Target(waits, (b"5", b"0.5", b"Wed, 21 Oct 2026 07:28:00 GMT", b"-1", b"1e400")),
    "kept_reply": Target(kept_reply, (KEPT,), widens=False),
    "kept_file": Target(kept_file, (cache_file(),), widens=False),
}
