"""The whole backend against endpoints that are well, but peculiar."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from replies import chat, plain

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.address import parse
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.endpoint.probe import ANSWER, QUESTION
from lmcot_cli.errors import ModelError, PromptTooLongError, RowError

Reply = tuple[int, dict[str, Any]]
Connect = Callable[..., EndpointBackend]
Peculiar = Callable[[Callable[[dict[str, Any]], Reply]], str]

GREEDY = Sampling(max_tokens=8, stop=("\n",))
REASONS = {"content": None, "reasoning_content": "I go through"}


@pytest.fixture
def calls() -> list[dict[str, Any]]:
    """Bodies of the calls of the model, in the order in which they came, with `path` beside."""
    return []


@pytest.fixture
def peculiar(answering: Callable[..., str], calls: list[dict[str, Any]]) -> Peculiar:
    """Start an endpoint without a list of models that replies to a call's body as a function says."""

    def start(reply: Callable[[dict[str, Any]], Reply]) -> str:
        def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
            if path.partition("?")[0].endswith("/models"):
                return 404, {}, b""
            call = json.loads(body) | {"path": path.removeprefix("/v1"), "headers": headers}
            calls.append(call)
            status, content = reply(call)
            return status, {}, json.dumps(content).encode()

        return answering(answer)

    return start


def prompt_of(call: dict[str, Any]) -> str:
    found = call["prompt"] if "prompt" in call else call["messages"][-1]["content"]
    assert isinstance(found, str)
    return found


def said(text: str, **more: Any) -> Reply:
    return 200, chat(message={"role": "assistant", "content": text}, **more)


def ask(backend: EndpointBackend, *prompts: str, sampling: Sampling = GREEDY) -> list[Completion | RowError]:
    return backend.complete([Request(prompt, 0) for prompt in prompts], sampling)


def texts(replies: list[Completion | RowError]) -> list[str | None]:
    return [reply.text if isinstance(reply, Completion) else None for reply in replies]


def forbidding(call: dict[str, Any]) -> Reply:
    if "FLAGGED" in prompt_of(call):
        return 403, {"error": {"code": 403, "message": "your input was flagged for violence"}}
    return said("yes")


def test_a_prompt_that_is_forbidden_is_one_rows_error(peculiar: Peculiar, connect: Connect) -> None:
    replies = ask(connect(peculiar(forbidding)), "a", "FLAGGED", "b")
    assert texts(replies) == ["yes", None, "yes"]
    assert str(replies[1]) == "the endpoint answered 403: your input was flagged for violence"


def test_the_first_call_after_a_kept_probe_may_be_forbidden_for_its_prompt(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]], tmp_path: Any
) -> None:
    url, cache = peculiar(forbidding), tmp_path / "replies.sqlite"
    connect(url, reply_cache=cache).close()
    calls.clear()
    backend = connect(url, reply_cache=cache)
    assert calls == []
    assert texts(ask(backend, "FLAGGED 1", "FLAGGED 2", "FLAGGED 3")) == [None] * 3
    assert [prompt_of(call) for call in calls if "FLAGGED" not in prompt_of(call)] == ["Say yes."]


def test_a_key_that_is_forbidden_everything_ends_the_run_with_the_endpoints_words(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    url = peculiar(lambda call: (403, {"error": {"message": "not in your region"}}))
    with pytest.raises(
        ModelError, match=r"forbids every call \(403: not in your region\): set OPENAI_API_KEY"
    ):
        connect(url)
    assert len(calls) == 2


def test_a_key_that_loses_its_rights_on_the_way_ends_the_run(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        return said("yes") if len(calls) < 10 else (403, {"error": {"message": "revoked"}})

    backend = connect(peculiar(reply), max_in_flight=1)
    with pytest.raises(ModelError, match="forbids every call"):
        ask(backend, *(f"row {number}" for number in range(100)))
    assert len(calls) < 30


@pytest.mark.parametrize(
    ("status", "error"),
    [(402, {"message": "Insufficient Balance"}), (429, {"message": "none", "code": "insufficient_quota"})],
)
def test_an_account_that_runs_out_of_credit_ends_the_run_at_once(
    status: int, error: dict[str, Any], peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        return said("yes") if len(calls) < 10 else (status, {"error": error})

    backend = connect(peculiar(reply), max_in_flight=1)
    with pytest.raises(ModelError, match=r"no credit left .* the same command again"):
        ask(backend, *(f"row {number}" for number in range(100)))
    assert len(calls) == 10


def test_an_error_within_a_200_is_judged_by_its_code(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        if prompt_of(call) == "long":
            return 200, {"error": {"code": 400, "message": "context of 4096 exceeded"}}
        if prompt_of(call) == "busy" and len(calls) < 4:
            return 200, {"error": {"code": "429", "message": "later"}}
        return said("yes")

    replies = ask(connect(peculiar(reply)), "long", "busy")
    assert str(replies[0]) == "the endpoint answered 400: context of 4096 exceeded"
    assert texts(replies) == [None, "yes"]


def test_what_is_refused_is_left_out_of_all_calls_under_way_and_told_once(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        for name in ("logprobs", "seed", "repeat_penalty"):
            if name in call:
                return 400, {"error": {"message": f"Unrecognized request argument supplied: {name}"}}
        if call.get("temperature") == 0:
            return 422, {"error": "Input validation error: `temperature` must be strictly positive"}
        return said("yes")

    replies = ask(connect(peculiar(reply)), *(f"row {number}" for number in range(20)))
    assert texts(replies) == ["yes"] * 20
    assert len(calls) == 25, "four are refused, all of them those of the probe"
    assert len(caplog.messages) == 3
    assert {call["temperature"] for call in calls[5:]} == {0.01}


def test_a_model_that_thinks_is_found_out_and_has_room_for_it(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        if call["max_tokens"] < 100:
            return 200, chat(message=REASONS, finish_reason="length")
        return 200, chat(message={"content": "Gdynia\nof course", "reasoning_content": "First.\nThen."})

    backend = connect(peculiar(reply))
    (found,) = ask(backend, "Where?")
    assert isinstance(found, Completion)
    assert (found.text, found.finish_reason) == ("Gdynia", "stop")
    assert found.thought is not None
    assert found.thought.text == "First.\nThen."
    assert "stop" not in calls[-1]
    assert calls[-1]["chat_template_kwargs"]["enable_thinking"] is False


def test_a_model_that_begins_to_think_on_the_way_is_asked_anew(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        if prompt_of(call) == QUESTION.prompt:
            return said(ANSWER)
        room = call["max_tokens"] >= 100
        return said("Gdynia") if room else (200, chat(message=REASONS, finish_reason="length"))

    assert texts(ask(connect(peculiar(reply)), "Where?")) == ["Gdynia"]
    assert len(calls) == 3


def test_a_thought_that_takes_all_there_is_leaves_an_empty_reply_that_says_so(
    peculiar: Peculiar, connect: Connect
) -> None:
    (found,) = ask(connect(peculiar(lambda call: (200, chat(message=REASONS, finish_reason="length")))), "a")
    assert isinstance(found, Completion)
    assert (found.text, found.finish_reason) == ("", "length")
    assert found.thought is not None
    assert not found.thought.finished


def test_a_thought_that_only_ends_with_a_mark_is_found_out_though_it_is_long(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        if call["max_tokens"] < 500:
            return said("The user asks where it is. West Falmouth is in", finish_reason="length")
        return said("The user asks.\n</think>\n\nGdynia")

    backend = connect(peculiar(reply))
    asked = len(calls)
    assert texts(ask(backend, "Where?")) == ["Gdynia"]
    assert len(calls) == asked + 1, "there was room at once"


def test_a_thought_that_nothing_follows_is_the_rows_error(peculiar: Peculiar, connect: Connect) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        return said(ANSWER) if prompt_of(call) == QUESTION.prompt else (200, chat(message=REASONS))

    (found,) = ask(connect(peculiar(reply)), "a")
    assert "wrote no reply after it" in str(found)


def test_a_base_model_that_was_stopped_at_a_line_end_before_its_reply_is_asked_anew(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        text = "" if "\n" in call.get("stop", ()) else "\nGdynia\nQuestion: more"
        return 200, plain(text=text, finish_reason="stop")

    sampling = replace(GREEDY, stop=("\n", "\nQuestion:"))
    backend = connect(peculiar(reply), endpoint_api="completions")
    asked = len(calls)
    (found,) = ask(backend, "Where?", sampling=sampling)
    assert isinstance(found, Completion)
    assert found.text == "\nGdynia"
    assert len(calls) == asked + 1, "the probe had shown it"


@pytest.mark.parametrize("lost", [{"content": ""}, {"content": "and so on and so"}])
def test_auto_finds_out_a_chat_route_with_a_template_that_is_not_the_models(
    lost: dict[str, Any], peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def reply(call: dict[str, Any]) -> Reply:
        if call["path"] == "/completions":
            return 200, plain(text=f" {ANSWER}", finish_reason="stop")
        return 200, chat(message=lost, finish_reason="length" if lost["content"] else "stop")

    url = peculiar(reply)
    assert texts(ask(connect(url), "Where?")) == [f" {ANSWER}"]
    assert calls[-1]["path"] == "/completions"
    assert len(caplog.messages) == 1
    assert "--endpoint-api chat" in caplog.messages[0]
    assert texts(ask(connect(url, endpoint_api="chat"), "Where?")) == [lost["content"]]


@pytest.mark.parametrize(("owner", "api"), [("llamacpp", "/completions"), ("somebody", "/chat/completions")])
def test_a_server_known_to_have_both_routes_is_asked_on_both_where_chat_answers_wrong(
    owner: str, api: str, answering: Callable[..., str], connect: Connect
) -> None:
    asked = list[str]()

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/v1/models":
            return 200, {}, json.dumps({"data": [{"id": "m", "owned_by": owner}]}).encode()
        asked.append(path.removeprefix("/v1"))
        plainly = plain(text=f" {ANSWER}", finish_reason="stop")
        wrong = chat(message={"content": "Answer: Celia"})
        return 200, {}, json.dumps(plainly if asked[-1] == "/completions" else wrong).encode()

    ask(connect(answering(answer)), "Where?")
    assert asked[-1] == api


@pytest.mark.parametrize("status", [404, 500, 429])
def test_auto_stays_with_chat_where_plain_completions_are_no_better(
    status: int, peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    url = peculiar(lambda call: (status, {}) if call["path"] == "/completions" else said(""))
    assert texts(ask(connect(url), "Where?")) == [""]
    assert [call["path"] for call in calls].count("/completions") == 1


def test_a_chat_model_that_replies_is_asked_one_question_only(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    connect(peculiar(lambda call: said("I do not know.")))
    assert [call["path"] for call in calls] == ["/chat/completions"]


@pytest.mark.parametrize("key", ["azure-key-0123456789", "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl"])
def test_azure_is_given_version_and_key_as_it_wants_them(
    key: str, peculiar: Peculiar, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    host = peculiar(lambda call: said(ANSWER)).removesuffix("/v1")
    spec = f"{host}/openai/deployments/d/chat/completions?api-version=2024-10-21"
    with EndpointBackend(parse(spec), EndpointOptions()):
        pass
    (call,) = calls
    assert call["path"] == "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    token = key.startswith("eyJ")
    assert call["headers"].get("api-key") == (None if token else key)
    assert call["headers"].get("authorization") == (f"Bearer {key}" if token else None)


def test_the_users_fields_are_in_every_call_the_probe_included(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    ask(connect(peculiar(lambda call: said("yes")), request_fields=("top_k=5",)), "a")
    assert [call["top_k"] for call in calls] == [5, 5]


def test_a_field_of_the_users_that_is_refused_is_told_before_any_row(
    peculiar: Peculiar, connect: Connect
) -> None:
    url = peculiar(lambda call: (400, {"error": {"message": "Unrecognized request argument: reasoning"}}))
    with pytest.raises(ModelError, match="Unrecognized request argument: reasoning"):
        connect(url, request_fields=('reasoning={"effort": "low"}',))


def test_a_reply_in_pieces_is_put_together(answering: Callable[..., str], connect: Connect) -> None:
    pieces = [{"choices": [{"delta": {"content": "Gdy"}}]}]
    pieces += [{"choices": [{"delta": {"content": "nia"}, "finish_reason": "stop"}]}]  # type: ignore[dict-item]
    body = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces).encode() + b"data: [DONE]\n\n"
    url = answering(lambda path, *_: (404, {}, b"") if "models" in path else (200, {}, body))
    assert texts(ask(connect(url), "Where?")) == ["Gdynia"]


@pytest.mark.parametrize(
    "content",
    [
        "Gdynia<|im_end|>",
        "Gdynia</s>",
        "Gdynia<end_of_turn>\n<start_of_turn>user\nNext?",
        "<|channel|>analysis<|message|>A.<|end|><|start|>assistant<|channel|>final<|message|>Gdynia<|return|>",
        ["<think>A.</think>", {"type": "text", "text": {"value": "Gdynia", "annotations": []}}],
    ],
)
def test_what_a_server_leaves_around_a_reply_is_no_part_of_it(
    content: Any, peculiar: Peculiar, connect: Connect
) -> None:
    backend = connect(peculiar(lambda _: said(content)))
    assert texts(ask(backend, "a")) == ["Gdynia"]


@pytest.mark.parametrize("finish", ["refusal", "SAFETY", "RECITATION"])
def test_an_empty_reply_that_was_refused_is_an_error(
    finish: str, peculiar: Peculiar, connect: Connect
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        return said("", finish_reason=finish) if "FLAGGED" in prompt_of(call) else said("yes")

    replies = ask(connect(peculiar(reply)), "a", "FLAGGED")
    assert texts(replies) == ["yes", None]
    assert f"finish_reason {finish}" in str(replies[1])


def test_a_filtered_choice_without_a_message_is_not_asked_for_again(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        filtered = {"choices": [{"index": 0, "finish_reason": "content_filter"}]}
        return (200, filtered) if "FLAGGED" in prompt_of(call) else said("yes")

    replies = ask(connect(peculiar(reply)), "FLAGGED")
    assert "content filter" in str(replies[0])
    assert sum("FLAGGED" in prompt_of(call) for call in calls) == 1


@pytest.mark.parametrize(
    ("status", "names", "message"),
    [
        (403, ["logprobs"], "You are not allowed to request logprobs from this model"),
        (400, ["temperature"], "Temperature is not supported for reasoning models"),
        (400, ["temperature", "top_p"], "This model does not support sampling parameters"),
    ],
)
def test_a_parameter_refused_in_these_words_is_left_out(
    status: int, names: list[str], message: str, peculiar: Peculiar, connect: Connect,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def reply(call: dict[str, Any]) -> Reply:
        return (status, {"error": {"message": message}}) if call.keys() & {*names} else said("yes")

    backend = connect(peculiar(reply))
    assert [f"takes no {names[0]}:" in one.getMessage() for one in caplog.records] == [True]
    assert texts(ask(backend, "a", sampling=replace(GREEDY, temperature=0.7, top_p=0.9))) == ["yes"]


def test_a_403_of_plain_words_is_about_the_prompt(peculiar: Peculiar, connect: Connect) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        message = "it is not allowed to ask how to stop this"
        return (403, {"error": {"message": message}}) if "FLAGGED" in prompt_of(call) else said("yes")

    replies = ask(connect(peculiar(reply)), "a", "FLAGGED", "b")
    assert texts(replies) == ["yes", None, "yes"]


def test_a_200_whose_words_alone_say_that_the_prompt_is_too_long_is_not_asked_again(
    peculiar: Peculiar, connect: Connect, calls: list[dict[str, Any]]
) -> None:
    def reply(call: dict[str, Any]) -> Reply:
        message = "This model's maximum context length is 10 tokens"
        long = "LONG" in prompt_of(call)
        return (200, {"object": "error", "message": message, "code": 40303}) if long else said("yes")

    replies = ask(connect(peculiar(reply)), "LONG")
    assert "maximum context length" in str(replies[0])
    assert isinstance(replies[0], PromptTooLongError) and replies[0].refused
    assert sum("LONG" in prompt_of(call) for call in calls) == 1
