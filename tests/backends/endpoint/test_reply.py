from __future__ import annotations

import json
from typing import Any

import pytest
from replies import chat, fuzzed, plain

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.reply import UnusableReplyError, Usage, read_models, read_reply
from lmcot_cli.errors import RowError

REQUEST = Request("Where is Lyon?", seed=0)
SAMPLING = Sampling(max_tokens=8, stop=("\n",))


def read(reply: Any, asked: int = 1) -> tuple[Completion | RowError, ...]:
    return read_reply(json.dumps(reply).encode(), REQUEST, SAMPLING, asked).replies


def test_a_chat_and_a_plain_completion() -> None:
    assert read(chat()) == (Completion("In France.", 9, 2, "stop", -1.0),)
    assert read(plain()) == (Completion("In France.", 9, 2, "length", -1.5),)


def test_several_choices_share_what_was_billed() -> None:
    reply = chat() | {"usage": {"prompt_tokens": 9, "completion_tokens": 7}}
    reply["choices"] = [
        chat(message={"content": text}, logprobs=None)["choices"][0] for text in ("a", "abc", "a")
    ]
    replies = [one for one in read(reply, asked=3) if isinstance(one, Completion)]
    assert [one.text for one in replies] == ["a", "abc", "a"]
    assert [one.prompt_tokens for one in replies] == [9, 0, 0]
    assert sum(one.completion_tokens for one in replies) == 7


def test_more_choices_than_asked_for_are_left() -> None:
    reply = chat()
    reply["choices"] *= 3
    assert len(read(reply, asked=2)) == 2


@pytest.mark.parametrize("text", ["yes\nno", "yes\n", "yes"])
def test_a_text_ends_before_the_stop_string_also_where_the_endpoint_knows_none(text: str) -> None:
    (reply,) = read(chat(message={"content": text}, finish_reason="length"))
    assert isinstance(reply, Completion)
    assert reply.text == "yes"
    assert reply.finish_reason == ("length" if text == "yes" else "stop")


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": [{"logprob": "x"}]}, 3])
def test_without_log_probabilities_there_is_none(logprobs: Any) -> None:
    (reply,) = read(chat(logprobs=logprobs))
    assert isinstance(reply, Completion)
    assert reply.logprob is None


def test_a_log_probability_that_is_no_number_counts_as_none() -> None:
    body = json.dumps(plain()).replace("-1.0", "NaN").encode()
    (reply,) = read_reply(body, REQUEST, SAMPLING, 1).replies
    assert isinstance(reply, Completion)
    assert reply.logprob is None


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "9"}, 10**400]
)
def test_tokens_that_are_not_counted_are_estimated(usage: Any) -> None:
    answered = read_reply(json.dumps(chat() | {"usage": usage}).encode(), REQUEST, SAMPLING, 1)
    assert answered.usage == Usage(4, 3)


def test_a_message_without_content_is_empty() -> None:
    assert read(chat(message={"content": None, "refusal": "no"})) == (Completion("", 9, 2, "stop", -1.0),)


def test_what_the_content_filter_withheld_is_the_rows_error() -> None:
    (reply,) = read(chat(finish_reason="content_filter"))
    assert isinstance(reply, RowError)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no JSON"),
        (b'{"choices": [{"text": "a"', "no JSON"),
        (b'{"choices": [{"text": "\xff"}]}', "no JSON"),
        (b'{"choices": [{"text": "\\ud800"}]}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "not of the API's form"),
        (b'{"choices": []}', "holds no choice"),
        (b'{"choices": null}', "not of the API's form, at choices"),
        (b'{"choices": [{}]}', "without a text"),
        (b'{"choices": [{"text": 3}]}', "at choices.0.text"),
        (b'{"choices": [{"text": "a", "finish_reason": "abort"}]}', "broke the reply off"),
    ],
)
def test_what_cannot_be_used_says_why(body: bytes, message: str) -> None:
    with pytest.raises(UnusableReplyError, match="reply") as caught:
        read_reply(body, REQUEST, SAMPLING, 1)
    assert message in str(caught.value)


def test_a_list_of_models() -> None:
    assert read_models(b'{"data": [{"id": "a"}, {"id": "b", "owned_by": 3}]}') == ["a", "b"]
    for body in (b"", b"[]", b'{"data": [3]}', b'{"data": {}}', b"<html>"):
        assert read_models(body) is None


def test_whatever_comes_is_a_completion_an_error_of_its_own_or_unusable() -> None:
    outcomes = {"completion": 0, "error": 0, "unusable": 0}
    for body in fuzzed(20_000):
        try:
            answered = read_reply(body, REQUEST, SAMPLING, 2)
        except UnusableReplyError as error:
            assert "\n" not in str(error)
            outcomes["unusable"] += 1
            continue
        for reply in answered.replies:
            outcomes["completion" if isinstance(reply, Completion) else "error"] += 1
            if isinstance(reply, Completion):
                reply.text.encode()
                json.dumps(reply.logprob, allow_nan=False)
                assert reply.prompt_tokens >= 0
                assert reply.completion_tokens >= 0
    assert outcomes["completion"] > 2000
    assert outcomes["unusable"] > 2000
