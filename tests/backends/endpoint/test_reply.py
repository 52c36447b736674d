from __future__ import annotations

import json
from typing import Any

import pytest
from replies import chat, fuzzed, plain

from lmcot_cli.backends.base import Completion, Request, Sampling, Thought
from lmcot_cli.backends.constraint import Choices, Constraint, Number
from lmcot_cli.backends.endpoint.reply import (
    ReplyUsage,
    UnusableReplyError,
    read_models,
    read_reply,
    without_reply,
)
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
    assert answered.usage == ReplyUsage(4, 3)


@pytest.mark.parametrize("text", ["\nyes\nno", "\n\n  yes\n", " \nyes"])
def test_a_stop_string_before_there_is_text_ends_nothing(text: str) -> None:
    (reply,) = read(plain(text=text))
    assert isinstance(reply, Completion)
    assert reply.text.strip() == "yes"


def test_a_message_without_content_is_empty() -> None:
    assert read(chat(message={"content": None})) == (Completion("", 9, 2, "stop", -1.0),)


@pytest.mark.parametrize(
    ("message", "text", "thought"),
    [
        ({"content": [{"type": "text", "text": "Lyon"}]}, "Lyon", None),
        ({"content": {"type": "text", "text": "Lyon"}}, "Lyon", None),
        ({"content": ["Ly", {"type": "output_text", "text": "on"}, 3, None]}, "Lyon", None),
        ({"content": [{"type": "image_url", "image_url": {}}, {"text": "Lyon"}]}, "Lyon", None),
        (
            {"content": [{"type": "thinking", "thinking": "It is"}, {"type": "text", "text": "Lyon"}]},
            "Lyon",
            "It is",
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "It is"}]},
                    {"type": "text", "text": "Lyon"},
                ]
            },
            "Lyon",
            "It is",
        ),
        ({"content": "Lyon", "reasoning_content": "It is"}, "Lyon", "It is"),
        ({"content": "Lyon", "reasoning": "It is", "reasoning_content": None}, "Lyon", "It is"),
        ({"content": "Lyon", "reasoning": {"summary": [{"text": "It is"}]}}, "Lyon", "It is"),
        ({"content": "Lyon", "thinking": "It is"}, "Lyon", "It is"),
        (
            {
                "content": "Lyon",
                "reasoning": None,
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "It "},
                    {"type": "reasoning.summary", "summary": "is"},
                    {"type": "reasoning.encrypted", "data": "xyz"},
                ],
            },
            "Lyon",
            "It is",
        ),
        ({"content": "Lyon", "reasoning_content": " \n"}, "Lyon", None),
        ({"content": "Lyon", "reasoning_content": 3, "reasoning_details": "x"}, "Lyon", "x"),
    ],
)  # fmt: skip
def test_a_thought_is_not_part_of_the_reply(message: dict[str, Any], text: str, thought: str | None) -> None:
    (reply,) = read(chat(message=message))
    assert isinstance(reply, Completion)
    assert reply.text == text
    assert (reply.thought and reply.thought.text) == thought


HARMONY = "<|channel|>analysis<|message|>It is<|end|><|start|>assistant<|channel|>final<|message|>Lyon"


@pytest.mark.parametrize(
    ("message", "text", "thought"),
    [
        ({"content": "<think>\nIt is\n</think>\n\nLyon\nmore"}, "Lyon", "It is"),
        ({"content": "It is\n</think>\n\nLyon"}, "Lyon", "It is"),
        ({"content": "<think>\n\n</think>\n\nLyon"}, "Lyon", None),
        ({"content": HARMONY}, "Lyon", "It is"),
        ({"content": [{"type": "text", "text": "<think>It is</think>"}, {"text": "Lyon"}]}, "Lyon", "It is"),
        ({"content": "<think>so</think>Lyon", "reasoning": "It is"}, "Lyon", "It is\nso"),
    ],
)
def test_a_thought_in_the_text_is_not_part_of_the_reply(
    message: dict[str, Any], text: str, thought: str | None
) -> None:
    (reply,) = read(chat(message=message))
    assert isinstance(reply, Completion)
    assert reply.text == text
    assert (reply.thought and reply.thought.text) == thought


def test_a_thought_in_the_text_of_a_plain_completion_that_was_cut_has_all_its_tokens() -> None:
    (reply,) = read(plain(text="<think>\nIt is", finish_reason="length"))
    assert isinstance(reply, Completion)
    assert (reply.text, reply.finish_reason) == ("", "length")
    assert reply.thought == Thought(2, "It is", finished=False)


def test_stop_strings_count_after_the_thought() -> None:
    (reply,) = read(chat(message={"content": "Lyon\nmore", "reasoning_content": "first\nsecond"}))
    assert isinstance(reply, Completion)
    assert (reply.text, reply.thought) == ("Lyon", Thought(1, "first\nsecond"))


def test_tokens_of_a_thought_are_as_counted_and_among_those_of_the_reply() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 20,
        "completion_tokens_details": {"reasoning_tokens": 17},
    }
    (counted,) = read(chat(message={"content": "x", "reasoning": "It is"}) | {"usage": usage})
    (hidden,) = read(chat() | {"usage": usage})
    assert isinstance(counted, Completion)
    assert isinstance(hidden, Completion)
    assert (counted.completion_tokens, counted.thought) == (20, Thought(17, "It is"))
    assert hidden.thought == Thought(17, None)


@pytest.mark.parametrize("counted", [0, -1, 21, "17", None, True, [3]])
def test_a_count_of_thoughts_that_cannot_be_is_none(counted: Any) -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 20,
        "completion_tokens_details": {"reasoning_tokens": counted},
    }
    (reply,) = read(chat() | {"usage": usage})
    assert isinstance(reply, Completion)
    assert reply.thought is None


def test_a_thought_that_took_all_tokens_leaves_an_empty_reply_that_was_cut() -> None:
    (reply,) = read(chat(message={"content": None, "reasoning_content": "It is"}, finish_reason="length"))
    assert isinstance(reply, Completion)
    assert (reply.text, reply.finish_reason) == ("", "length")
    assert reply.thought == Thought(2, "It is", finished=False)
    assert without_reply(reply) is None


def test_a_thought_that_nothing_follows_is_an_error_that_says_so() -> None:
    (reply,) = read(chat(message={"content": "", "reasoning_content": "It is"}))
    assert isinstance(reply, Completion)
    assert "--thinking auto" in str(without_reply(reply))
    assert without_reply(Completion("", 9, 2, "stop", None)) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"message": {"content": None, "refusal": "I\ncannot"}}, "the model refused to reply: I cannot;"),
        ({"message": {"content": [{"type": "refusal", "refusal": "No"}]}}, "the model refused to reply: No;"),
        (
            {
                "message": {"content": None, "tool_calls": [{"function": {"name": "search"}}]},
                "finish_reason": "tool_calls",
            },
            "the model called a tool (search) instead",
        ),
        ({"message": {"content": "", "function_call": {"name": "search"}}}, "a tool (search) instead"),
        ({"message": {"content": None, "tool_calls": [{"function": {}}]}}, "a tool (unnamed) instead"),
        ({"message": {"content": None}, "finish_reason": "tool_calls"}, "called a tool instead"),
        ({"message": {"content": "half a"}, "finish_reason": "content_filter"}, "content filter"),
    ],
)
def test_a_reply_that_is_none_is_an_error_that_names_the_cause(changes: dict[str, Any], words: str) -> None:
    (reply,) = read(chat(**changes))
    assert isinstance(reply, RowError)
    assert words in str(reply)
    assert "\n" not in str(reply)


def test_words_beside_a_tool_call_are_the_reply() -> None:
    (reply,) = read(chat(message={"content": "Lyon", "tool_calls": [{"function": {"name": "search"}}]}))
    assert isinstance(reply, Completion)


@pytest.mark.parametrize(
    ("constraint", "content", "text"),
    [
        (Choices(("a", "b")), '{"answer": "b"}', "b"),
        (Number(), '{"answer": 1.50}', "1.50"),
        (Number(), ' {"answer":-4} ', "-4"),
        (Number(), "about 4", "about 4"),
        (Choices(("a",)), '{"answer": null}', '{"answer": null}'),
        (Choices(("a",)), '{"answer": "a", "b": 1}', '{"answer": "a", "b": 1}'),
        (Choices(("a",)), '["a"]', '["a"]'),
        (None, '{"answer": "b"}', '{"answer": "b"}'),
    ],
)
def test_what_was_asked_for_in_an_object_is_taken_out_of_it(
    constraint: Constraint | None, content: str, text: str
) -> None:
    request = Request("Where?", 0, constraint=constraint)
    body = json.dumps(chat(message={"content": content})).encode()
    (reply,) = read_reply(body, request, Sampling(), 1).replies
    assert isinstance(reply, Completion)
    assert reply.text == text


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
    assert read_models(b'{"data": [{"id": "a", "owned_by": "vllm"}, {"id": "b", "owned_by": 3}]}') == (
        ["a", "b"],
        {"vllm"},
    )
    for body in (b"", b"[]", b'{"data": [3]}', b'{"data": {}}', b"<html>"):
        assert read_models(body) == (None, set())


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
