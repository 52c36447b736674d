from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling, Shot, Thinking, Thought
from lmcot_cli.backends.constraint import Choices, Constraint, JsonSchema, Number
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.dialect import Dialect, wanted
from lmcot_cli.backends.endpoint.faults import Refusal

HOSTED = Address("https://api.openai.com/v1", "m")
REQUEST = Request("Where is Lyon?", seed=7)
SAMPLED = Sampling(temperature=0.7, top_p=0.9, max_tokens=48, stop=("\n", "\nQuestion:"))


def test_a_chat_call_says_everything() -> None:
    assert Dialect.of(HOSTED, "auto").body(REQUEST, SAMPLED, n=3) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Where is Lyon?"}],
        "max_tokens": 48,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["\nQuestion:"],
        "stream": False,
        "logprobs": True,
        "n": 3,
    }


def test_a_plain_completion_says_everything() -> None:
    assert Dialect.of(HOSTED, "completions").body(REQUEST, Sampling(max_tokens=5)) == {
        "model": "m",
        "prompt": "Where is Lyon?",
        "max_tokens": 5,
        "temperature": 0.0,
        "seed": 7,
        "stream": False,
        "logprobs": 1,
    }


def test_an_own_server_is_asked_not_to_penalise_repetition() -> None:
    dialect = Dialect.of(Address("http://10.0.0.5/v1", "m"), "chat")
    body = dialect.body(REQUEST, SAMPLED)
    assert body["repeat_penalty"] == 1.0
    assert dialect.adapt(Refusal(400, "Unrecognized request argument supplied: repeat_penalty"), body)
    assert "repeat_penalty" not in dialect.body(REQUEST, SAMPLED)


@pytest.mark.parametrize(
    ("status", "message", "gone"),
    [
        (400, "Unsupported parameter: 'stop' is not supported with this model.", {"stop"}),
        (400, "Unsupported value: 'temperature' does not support 0.7 with this model.", {"temperature"}),
        (422, "[{'loc': ['body', 'seed'], 'msg': 'Extra inputs are not permitted'}]", {"seed"}),
        (400, "top_p is deprecated for this model", {"top_p"}),
        (500, "logprobs is not supported for models created with logits_all=False", {"logprobs"}),
        (400, "Unrecognized request arguments supplied: logprobs, seed", {"logprobs", "seed"}),
    ],
)
def test_what_an_endpoint_does_not_take_is_left_out(status: int, message: str, gone: set[str]) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    body = dialect.body(REQUEST, SAMPLED)
    assert dialect.adapt(Refusal(status, message), body)
    assert body.keys() - dialect.body(REQUEST, SAMPLED).keys() == gone
    assert not dialect.adapt(Refusal(status, message), dialect.body(REQUEST, SAMPLED))


def test_the_loss_of_seed_or_temperature_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    body = dialect.body(REQUEST, SAMPLED)
    for _ in range(3):
        dialect.adapt(Refusal(400, "seed, stop: unknown parameters"), body)
    assert caplog.messages == [
        "openai:m takes no seed: samples cannot be drawn again alike",
        "openai:m takes no stop: replies are cut here, and may cost more tokens than are used",
    ]


def test_max_completion_tokens_takes_the_place_of_max_tokens() -> None:
    dialect = Dialect.of(HOSTED, "chat")
    message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    assert dialect.adapt(Refusal(400, message), dialect.body(REQUEST, SAMPLED))
    body = dialect.body(REQUEST, SAMPLED)
    assert body["max_completion_tokens"] == 48 + 1024, "it counts thoughts, too"
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(
            400,
            "'max_tokens' or 'max_completion_tokens' is too large: this model's maximum context length is 9",
        ),
        Refusal(400, "the stop button is not supported here", code="context_length_exceeded"),
        Refusal(400, "not supported"),
        Refusal(400, "no such thing as a seed"),
    ],
)
def test_other_refusals_change_nothing(refusal: Refusal) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    body = dialect.body(REQUEST, SAMPLED)
    assert not dialect.adapt(refusal, body)
    assert dialect.body(REQUEST, SAMPLED) == body


@pytest.mark.parametrize(
    "refusal", [Refusal(404, "Not Found"), Refusal(400, "the tokenizer has no chat template, see docs")]
)
def test_auto_turns_to_plain_completions_where_there_is_no_chat(refusal: Refusal) -> None:
    dialect = Dialect.of(HOSTED, "auto")
    assert dialect.adapt(refusal, dialect.body(REQUEST, SAMPLED))
    assert dialect.path == "/completions"
    assert "prompt" in dialect.body(REQUEST, SAMPLED)
    assert not dialect.adapt(refusal, dialect.body(REQUEST, SAMPLED))


def test_chat_that_was_chosen_or_has_worked_stays() -> None:
    chosen, worked = Dialect.of(HOSTED, "chat"), Dialect.of(HOSTED, "auto")
    worked.settled = True
    for dialect in (chosen, worked):
        assert not dialect.adapt(Refusal(404, "Not Found"), dialect.body(REQUEST, SAMPLED))
        assert dialect.path == "/chat/completions"


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(400, "'n' must be 1"),
        Refusal(422, "Only one choice is supported", "n"),
        Refusal(400, "[{'loc': ['body', 'n'], 'msg': 'Input should be less than or equal to 1'}]"),
    ],
)
def test_a_refused_n_is_not_asked_for_again(refusal: Refusal) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    assert dialect.adapt(refusal, dialect.body(REQUEST, SAMPLED, n=4))
    assert dialect.n_honoured is False


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(400, "the prompt is too long for n choices", code="context_length_exceeded"),
        Refusal(400, "This model's maximum context length is 4096 tokens, n=4"),
        Refusal(400, "The content management policy filtered the prompt: 'Who?\\n\\nThe n-th'"),
        Refusal(400, "n_ctx is too small, 100n"),
        Refusal(400, "seed is not supported"),
        Refusal(500, "n"),
    ],
)
def test_a_refusal_for_another_reason_says_nothing_of_n(refusal: Refusal) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    dialect.adapt(refusal, dialect.body(REQUEST, SAMPLED, n=4))
    assert dialect.n_honoured is None


GREEDY = Sampling(max_tokens=48)


def learnt(
    dialect: Dialect, sampling: Sampling, *messages: str, request: Request = REQUEST
) -> dict[str, Any]:
    """Return what is said once the endpoint has refused what was said, with these words one after another."""
    for message in messages:
        assert dialect.adapt(Refusal(400, message), dialect.body(request, sampling))
    return dialect.body(request, sampling)


@pytest.mark.parametrize(
    ("message", "used"),
    [
        ("Input validation error: `temperature` must be strictly positive", 0.01),
        ("[{'loc': ['body', 'temperature'], 'msg': 'Input should be greater than 0'}]", 0.01),
        ("temperature must be in the range (0.0, 1.0)", 0.01),
        ("Invalid value for 'temperature': must be at least 0.05", 0.05),
    ],
)
def test_where_a_temperature_of_0_is_refused_the_least_that_is_taken_is_used(
    message: str, used: float, caplog: pytest.LogCaptureFixture
) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    assert learnt(dialect, GREEDY, message)["temperature"] == used
    assert dialect.body(REQUEST, SAMPLED)["temperature"] == 0.7
    assert caplog.messages == [f"openai:m takes no temperature of 0: {used} is used, which is nearly greedy"]


def test_where_no_temperature_near_0_is_taken_a_top_p_near_0_is_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    body = learnt(dialect, GREEDY, *["'temperature' must be larger"] * 2)
    assert "temperature" not in body
    assert body["top_p"] == 0.01
    assert "top_p 0.01 is used in its place" in caplog.messages[-1]
    assert "top_p" not in learnt(dialect, GREEDY, "'top_p' is not supported")


def test_where_only_the_default_temperature_is_taken_none_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    message = "'temperature' does not support 0 with this model. Only the default (1) value is supported."
    body = learnt(Dialect.of(HOSTED, "chat"), GREEDY, message)
    assert not {"temperature", "top_p"} & body.keys()
    assert caplog.messages == [
        "openai:m takes no temperature: it samples at its own, --temperature plays no part"
    ]


@pytest.mark.parametrize(
    "message",
    [
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        "You may set either temperature or top_p.",
    ],
)
def test_of_temperature_and_top_p_the_first_is_sent_where_they_exclude_each_other(
    message: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = learnt(Dialect.of(HOSTED, "chat"), SAMPLED, message)
    assert body["temperature"] == 0.7
    assert "top_p" not in body
    assert caplog.messages == ["openai:m takes temperature or top_p, not both: --top-p plays no part"]


def test_both_are_left_out_where_neither_is_taken() -> None:
    body = learnt(Dialect.of(HOSTED, "chat"), SAMPLED, "Unsupported parameters: temperature, top_p")
    assert not {"temperature", "top_p"} & body.keys()


@pytest.mark.parametrize("name", ["stop", "stop_sequences"])
def test_blank_stop_strings_are_left_out_before_all_are(name: str) -> None:
    dialect = Dialect.of(HOSTED, "completions")
    assert dialect.body(REQUEST, SAMPLED)["stop"] == ["\n", "\nQuestion:"]
    blank = f"{name}: each stop sequence must contain non-whitespace"
    assert learnt(dialect, SAMPLED, blank)["stop"] == ["\nQuestion:"]
    assert "stop" not in learnt(dialect, SAMPLED, f"{name}: cannot be empty")


def test_a_hosted_model_is_sent_no_more_than_four_stop_strings() -> None:
    sampling = Sampling(stop=tuple("abcde"))
    assert Dialect.of(HOSTED, "chat").body(REQUEST, sampling)["stop"] == list("abcd")
    own = Dialect.of(Address("http://10.0.0.5/v1", "m"), "chat")
    assert own.body(REQUEST, sampling)["stop"] == list("abcde")


def test_a_reply_that_was_stopped_before_it_began_is_the_last_one() -> None:
    dialect = Dialect.of(HOSTED, "completions")
    dialect.notice([Completion("", 9, 1, "stop", None)], dialect.body(REQUEST, SAMPLED))
    assert dialect.body(REQUEST, SAMPLED)["stop"] == ["\nQuestion:"]


def test_a_model_that_thinks_has_room_for_it_and_no_stop_strings_that_could_end_the_thought() -> None:
    dialect = Dialect.of(HOSTED, "chat")
    assert dialect.body(REQUEST, SAMPLED)["max_tokens"] == 48
    dialect.notice([Completion("x", 9, 5, "stop", None, thought=Thought(3))], {})
    body = dialect.body(REQUEST, SAMPLED)
    assert body["max_tokens"] == 48 + 1024
    assert "stop" not in body


def test_a_thought_that_leaves_no_room_says_so_by_an_error_at_some() -> None:
    dialect = Dialect.of(HOSTED, "chat")
    message = "Could not finish the message because max_tokens or model output limit was reached."
    assert learnt(dialect, GREEDY, message)["max_tokens"] == 48 + 1024


def thinking(dialect: Dialect, wanted: Thinking) -> dict[str, Any]:
    body = dialect.body(REQUEST, replace(GREEDY, thinking=wanted))
    return {name: body[name] for name in ("reasoning_effort", "chat_template_kwargs") if name in body}


def test_a_model_is_told_whether_to_think_where_it_can_or_the_user_says_so() -> None:
    hosted = Dialect.of(HOSTED, "chat")
    own = Dialect.of(Address("http://10.0.0.5/v1", "m"), "chat")
    assert [thinking(hosted, wanted) for wanted in ("off", "auto", "on")] == [
        {},
        {},
        {"reasoning_effort": "medium"},
    ]
    hosted.thinks = own.thinks = True
    assert [thinking(hosted, wanted) for wanted in ("off", "auto")] == [{"reasoning_effort": "none"}, {}]
    assert thinking(own, "off") == {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}
    assert thinking(own, "on") == {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}
    own.api = "completions"
    assert thinking(own, "on") == {}, "there is no template"


def test_gpt_oss_is_told_by_its_effort_wherever_it_is() -> None:
    own = Dialect.of(Address("http://10.0.0.5/v1", "openai/gpt-oss-20b"), "chat")
    assert thinking(own, "on") == {"reasoning_effort": "medium"}


def test_an_effort_that_is_refused_gives_way_to_the_next_that_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    dialect.thinks = True
    off = replace(GREEDY, thinking="off")
    message = (
        "Unsupported value: 'reasoning_effort' does not support 'none' with this model."
        " Supported values are: 'low', 'medium', and 'high'."
    )
    assert learnt(dialect, off, message)["reasoning_effort"] == "low"
    assert caplog.messages == []
    assert "reasoning_effort" not in learnt(dialect, off, "Unrecognized request argument: reasoning_effort")
    assert len(caplog.messages) == 1
    assert "--request-field" in caplog.messages[0]


def test_the_users_own_fields_are_sent_and_never_left_out() -> None:
    extra = {"reasoning_effort": "low", "top_k": 5}
    dialect = Dialect.of(HOSTED, "chat", extra)
    dialect.thinks = True
    assert dialect.body(REQUEST, GREEDY).items() >= extra.items()
    refused = Refusal(400, "Unrecognized request argument supplied: reasoning_effort")
    assert not dialect.adapt(refused, dialect.body(REQUEST, GREEDY))


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("constraint", "schema", "strict"),
    [
        (JsonSchema("", SCHEMA), SCHEMA, False),
        (
            JsonSchema("", closed := SCHEMA | {"required": ["a"], "additionalProperties": False}),
            closed,
            True,
        ),
        (Choices(("a", "b")), {"type": "string", "enum": ["a", "b"]}, True),
        (Number(), {"type": "number"}, True),
    ],
)
def test_a_constraint_is_asked_for_by_a_schema(
    constraint: Constraint, schema: dict[str, Any], strict: bool
) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    asked = dialect.body(Request("Where?", 0, constraint=constraint), GREEDY)["response_format"][
        "json_schema"
    ]
    found = asked["schema"] if isinstance(constraint, JsonSchema) else asked["schema"]["properties"]["answer"]
    assert (found, asked["strict"]) == (schema, strict)
    assert type(constraint) in dialect.constraints


def test_a_constraint_that_is_refused_is_claimed_no_more(caplog: pytest.LogCaptureFixture) -> None:
    dialect = Dialect.of(HOSTED, "chat")
    request = Request("Where?", 0, constraint=Number())
    message = "Invalid schema for response_format 'answer': In context=(), not permitted"
    assert "response_format" not in learnt(dialect, GREEDY, message, request=request)
    assert dialect.constraints == frozenset()
    assert len(caplog.messages) == 1
    assert Dialect.of(HOSTED, "completions").constraints == frozenset()
    assert Dialect.of(HOSTED, "chat", {"response_format": {"type": "text"}}).constraints == frozenset()


def test_system_and_examples_are_turns_of_a_chat_and_text_of_a_plain_completion() -> None:
    request = Request("Where?", 0, "Be brief.", (Shot("Who?", "Ana"),))
    chat = Dialect.of(HOSTED, "chat").body(request, GREEDY)["messages"]
    assert [turn["role"] for turn in chat] == ["system", "user", "assistant", "user"]
    plain = Dialect.of(HOSTED, "completions").body(request, GREEDY)["prompt"]
    assert plain == "Be brief.\n\nWho? Ana\n\nWhere?"


def test_a_url_that_names_its_route_chooses_the_api() -> None:
    dialect = Dialect.of(Address("https://a.example/v1", "m", "completions"), "auto")
    assert (dialect.path, dialect.settled) == ("/completions", True)
    assert Dialect.of(Address("https://a.example/v1", "m", "completions"), "chat").api == "chat"


@pytest.mark.parametrize(
    "change",
    [
        {"request": Request("Where is Lyon?", 8)},
        {"request": Request("Where is Lyon?", 7, "Be brief.")},
        {"request": Request("Where is Lyon?", 7, shots=(Shot("Who?", "Ana"),))},
        {"request": Request("Where is Lyon?", 7, constraint=Number())},
        {"sampling": replace(SAMPLED, thinking="on")},
        {"sampling": replace(SAMPLED, max_thinking_tokens=5)},
        {"sampling": replace(SAMPLED, stop=())},
        {"dialect": Dialect.of(HOSTED, "chat", {"top_k": 5})},
        {"dialect": Dialect.of(HOSTED, "completions")},
    ],
)
def test_what_changes_a_reply_changes_what_it_is_kept_under(change: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"dialect": Dialect.of(HOSTED, "chat"), "request": REQUEST, "sampling": SAMPLED}
    assert wanted(**usual) == wanted(**usual)
    assert wanted(**(usual | change)) != wanted(**usual)
