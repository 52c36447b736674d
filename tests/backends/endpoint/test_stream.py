"""Replies in pieces, which nobody asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.reply import UnusableReplyError, read_reply
from lmcot_cli.backends.endpoint.stream import joined


def stream(*pieces: Any) -> bytes:
    lines = [f"data: {piece if isinstance(piece, str) else json.dumps(piece)}" for piece in pieces]
    return (": keep-alive\n\n" + "\n\n".join(lines) + "\n\n").encode()


def delta(finish: str | None = None, index: int = 0, **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": message, "finish_reason": finish}]}


def read(body: bytes, asked: int = 1) -> Any:
    return read_reply(joined(body), Request("Where?", 0), Sampling(), asked)


def test_pieces_are_put_together() -> None:
    answered = read(
        stream(
            delta(role="assistant", content=""),
            delta(reasoning_content="It "),
            delta(reasoning_content="is"),
            delta(content="In "),
            delta(content="France."),
            delta("stop"),
            {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}},
            "[DONE]",
        )
    )
    (reply,) = answered.replies
    assert isinstance(reply, Completion)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("In France.", 9, 5)
    assert reply.thought is not None
    assert reply.thought.text == "It is"


def test_choices_are_told_apart_and_plain_completions_have_texts() -> None:
    pieces = [delta("stop", index, content=text) for index, text in ((1, "b"), (0, "a"))]
    assert [one.text for one in read(stream(*pieces), asked=2).replies] == ["a", "b"]
    texts = [{"choices": [{"text": "a"}]}, {"choices": [{"text": "b", "finish_reason": "stop"}]}]
    assert read(stream(*texts)).replies[0].text == "ab"


@pytest.mark.parametrize("more", [[], ["{torn"], [delta(content="!"), "[DONE]"]])
def test_a_stream_that_breaks_off_is_no_reply(more: list[Any]) -> None:
    with pytest.raises(UnusableReplyError, match="broke the reply off"):
        read(stream(delta(content="half"), *more))


def test_an_error_in_a_stream_is_the_reply() -> None:
    body = joined(stream(delta(content="half"), {"error": {"code": 400, "message": "no"}}))
    assert json.loads(body)["error"]["message"] == "no"


@pytest.mark.parametrize("body", [b"", b"{}", b'  {"choices": []}', b"<html>"])
def test_any_other_body_stays_as_it_is(body: bytes) -> None:
    assert joined(body) == body


@pytest.mark.parametrize("piece", ['{"choices": 3}', '{"choices": [3]}', "3", '{"choices": [{"index": []}]}'])
def test_odd_pieces_are_no_traceback(piece: str) -> None:
    with pytest.raises(UnusableReplyError):
        read(stream(piece))
