import pytest

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.dialect import Dialect
from lmcot_cli.backends.endpoint.faults import Refusal

HOSTED = Address("https://api.openai.com/v1", "m")
REQUEST = Request("Where is Lyon?", seed=7)
SAMPLED = Sampling(temperature=0.7, top_p=0.9, max_tokens=48, stop=("\n",))


def test_a_chat_call_says_everything() -> None:
    assert Dialect.of(HOSTED, "auto").body(REQUEST, SAMPLED, n=3) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Where is Lyon?"}],
        "max_tokens": 48,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["\n"],
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
    assert caplog.messages == ["openai:m takes no seed: samples cannot be drawn again alike"]


def test_max_completion_tokens_takes_the_place_of_max_tokens() -> None:
    dialect = Dialect.of(HOSTED, "chat")
    message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    assert dialect.adapt(Refusal(400, message), dialect.body(REQUEST, SAMPLED))
    body = dialect.body(REQUEST, SAMPLED)
    assert body["max_completion_tokens"] == 48
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
    first, second = (dialect.body(REQUEST, SAMPLED) for _ in range(2))
    assert dialect.adapt(refusal, first)
    assert dialect.path == "/completions"
    assert dialect.adapt(refusal, second), "a call that was under way meanwhile is written anew, too"
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
