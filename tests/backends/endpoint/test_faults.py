import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

import pytest

from lmcot_cli.backends.endpoint.backoff import MOST_SECONDS, backoff
from lmcot_cli.backends.endpoint.faults import (
    Refusal,
    Transient,
    judge_body,
    judge_status,
    refused_key,
    retry_after,
)
from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.errors import ModelError

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SECRET = "sk-canary-0123456789"


def judged(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    return judge_status(status, headers or {}, body, ApiKey(SECRET, "look at the key"), "http://here/v1")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30"}, 30.0),
        ({"retry-after": "5", "retry-after-ms": "150"}, 0.15),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e308"}, 86_400.0),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after-ms": "1e300"}, 86_400.0),
        ({"retry-after": "-1e308"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 86_400.0),
        ({"retry-after": "Sun, 99 Foo 99999 99:99:99 GMT"}, None),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again(status: int) -> None:
    fault = judged(status, {"error": {"message": "later"}}, {"retry-after": "2"})
    assert isinstance(fault, Transient)
    assert (fault.reason, fault.retry_after) == (f"{status}: later", 2.0)
    assert fault.busy is (status in (408, 429, 503, 504))


@pytest.mark.parametrize("status", [400, 404, 405, 413, 422, 501])
def test_what_will_not_pass_is_the_requests_own_error(status: int) -> None:
    fault = judged(status, {"error": {"message": "no\n  way", "param": "seed", "code": "x"}})
    assert fault == Refusal(status, "no way", "seed", "x")


def test_a_refused_key_ends_the_run_and_says_what_to_do() -> None:
    fault = judged(401, {"error": {"message": f"wrong key {SECRET}"}})
    assert isinstance(fault, ModelError)
    assert str(fault) == "http://here/v1 refused the key (401): look at the key"


def test_a_403_may_be_of_one_prompt_or_of_the_key() -> None:
    fault = judged(403, {"error": {"message": "your input was flagged"}})
    assert fault == Refusal(403, "your input was flagged")
    error = refused_key(fault, ApiKey(SECRET, "look at the key"), "http://here/v1")
    assert str(error) == "http://here/v1 forbids every call (403: your input was flagged): look at the key"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (402, {"message": "Insufficient Balance", "code": "invalid_request_error"}),
        (402, {"message": "no reason"}),
        (429, {"message": "pay", "code": "insufficient_quota"}),
        (429, {"message": "pay", "type": "insufficient_quota", "code": None}),
        (429, {"message": "pay", "code": "credit_balance_exhausted"}),
        (429, {"message": "You have no credits remaining."}),
        (429, {"message": "Your account is suspended", "type": "exceeded_current_quota_error"}),
        (429, {"message": "余额不足或无可用资源包,请充值。", "code": "1113"}),
        (400, {"message": "Your credit balance is too low to access the API."}),
        (400, {"message": "Access denied, please make sure your account is in good standing", "code": "Arrearage"}),
        (400, {"message": "stopped", "code": "billing_hard_limit_reached"}),
        (403, {"message": "Key limit exceeded (total limit)."}),
        (403, {"message": "Sorry, your account balance is insufficient"}),
    ],
)  # fmt: skip
def test_an_account_without_credit_ends_the_run(status: int, error: dict[str, Any]) -> None:
    fault = judged(status, {"error": error})
    assert isinstance(fault, ModelError)
    assert "has no credit left" in str(fault)
    assert error["message"] in str(fault)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Rate limit reached for requests", "code": "rate_limit_exceeded", "type": "tokens"},
        {"message": "You exceeded your current quota. Please retry in 34s.", "code": 429},
        {"message": "quota per minute", "code": "quota_exceeded"},
    ],
)
def test_a_busy_endpoint_is_not_one_without_credit(error: dict[str, Any]) -> None:
    assert isinstance(judged(429, {"error": error}), Transient)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ({"error": {"code": 400, "message": "too long"}}, Refusal(400, "too long")),
        ({"error": {"code": "400", "message": "too long"}}, Refusal(400, "too long", code="400")),
        ({"error": {"status_code": 404, "message": "gone"}, "choices": []}, Refusal(404, "gone")),
        (
            {"error": {"code": "context_length_exceeded", "message": "long"}, "user": "u"},
            Refusal(400, "long", code="context_length_exceeded"),
        ),
        (
            {"object": "error", "message": "odd", "type": "BadRequestError"},
            Refusal(400, "odd", kind="BadRequestError"),
        ),
        (
            {"choices": [{"finish_reason": "error", "error": {"code": 403, "message": "flagged"}}]},
            Refusal(403, "flagged"),
        ),
        (
            {"choices": [{"message": {"content": ""}}], "error": {"code": 400, "message": "no"}},
            Refusal(400, "no"),
        ),
        (
            {
                "error": {
                    "code": 400,
                    "message": "Provider returned error",
                    "metadata": {"raw": "n_ctx is 4096"},
                }
            },
            Refusal(400, "Provider returned error: n_ctx is 4096"),
        ),
        ({"error": {"code": 429, "message": "later"}}, Transient("429: later", busy=True)),
        ({"error": {"type": "overloaded_error", "message": "later"}}, None),
        ({"error": "out of memory"}, None),
        ({"error": {"code": 1234, "message": "who knows"}}, None),
        ({"detail": "who knows"}, None),
    ],
)
def test_an_error_that_comes_with_status_200_is_judged_by_its_code(reply: Any, fault: Any) -> None:
    judged = judge_body(json.dumps(reply).encode(), ApiKey(SECRET, ""), "http://here/v1")
    assert judged == fault if fault else isinstance(judged, Transient)


@pytest.mark.parametrize(("code", "words"), [(402, "no credit left"), (401, "refused the key")])
def test_an_error_that_comes_with_status_200_may_end_the_run(code: int, words: str) -> None:
    body = json.dumps({"error": {"code": code, "message": "no"}}).encode()
    fault = judge_body(body, ApiKey(SECRET, ""), "http://here/v1")
    assert isinstance(fault, ModelError)
    assert words in str(fault)


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices": [{"message": {"content": "an "error" in words"}}]}',
        b'{"choices": [{"message": {"content": "yes"}}], "error": null}',
        b'{"choices": [{"message": {"content": "yes"}, "error": null}], "error": {"code": 400}}',
        b'{"error": torn',
        b'[{"error": 3}]',
        b'"error"',
    ],
)
def test_what_holds_a_reply_or_no_json_is_left_to_its_reader(body: bytes) -> None:
    assert judge_body(body, ApiKey(SECRET, ""), "http://here/v1") is None


def test_a_redirection_ends_the_run() -> None:
    assert "has moved (308)" in str(judged(308))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "None"),
        ("<html>Bad gateway</html>", "<html>Bad gateway</html>"),
        (
            {"detail": [{"loc": ["body", "seed"], "msg": "Extra"}]},
            "[{'loc': ['body', 'seed'], 'msg': 'Extra'}]",
        ),
        ({"message": "flat"}, "flat"),
        ({"error": "a string"}, "a string"),
        ({"error": {"message": ""}}, "no reason given"),
        ({"error": {"message": "x" * 1000}}, "x" * 300 + "..."),
        ({"error": {"message": f"your key {SECRET} is bad"}}, "your key [key] is bad"),
        ({"error": {"message": "half \ud800 a pair"}}, "half ? a pair"),
    ],
)
def test_the_endpoints_words_are_found_in_every_form(body: Any, message: str) -> None:
    assert judged(400, body).message == message


def test_json_within_json_without_end_is_no_traceback() -> None:
    body: Any = []
    for _ in range(100_000):
        body = [body]
    assert judged(400, {"error": body}).message == "no reason given"


def test_backoff_is_full_jitter_within_a_bound_that_doubles() -> None:
    random = Random(0)
    waits = [[backoff(failures, None, random) for _ in range(2000)] for failures in range(1, 15)]
    for failures, drawn in enumerate(waits, 1):
        bound = min(0.5 * 2 ** (failures - 1), MOST_SECONDS)
        assert 0 <= min(drawn) < 0.05 * bound
        assert 0.95 * bound < max(drawn) <= bound
        assert abs(sum(drawn) / len(drawn) - bound / 2) < 0.05 * bound


def test_backoff_is_never_shorter_than_the_endpoint_asks() -> None:
    assert min(backoff(1, 7.0, Random(seed)) for seed in range(1000)) >= 7.0
