from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

import pytest

from lmcot_cli.backends.endpoint.backoff import MOST_SECONDS, backoff, failures_that_count
from lmcot_cli.backends.endpoint.faults import Refusal, Transient, judge_status, retry_after
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


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_run_and_says_what_to_do(status: int) -> None:
    fault = judged(status, {"error": {"message": f"wrong key {SECRET}"}})
    assert isinstance(fault, ModelError)
    assert str(fault) == f"http://here/v1 refused the key ({status}): look at the key"


def test_an_account_without_credit_ends_the_run() -> None:
    fault = judged(429, {"error": {"message": "pay", "code": "insufficient_quota"}})
    assert isinstance(fault, ModelError)


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


def test_while_others_are_answered_the_wait_grows_later_and_less() -> None:
    assert [failures_that_count(failures) for failures in range(1, 12)] == [1] * 6 + [2, 3] + [4] * 3
