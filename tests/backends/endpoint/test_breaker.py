import logging

import pytest

from lmcot_cli.backends.endpoint.breaker import FAILURES, LONGEST_PAUSE, SPACING, Breaker


def fail(breaker: Breaker, times: int, start: float = 0.0, retry_after: float | None = None) -> float:
    """Let calls fail, a quarter of a second apart; return when the last did."""
    for number in range(times):
        now = start + number / 4
        breaker.failed("503: busy", retry_after, tried=False, patience=1.0, now=now)
    return now


def test_it_opens_after_enough_failures_in_a_row_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    breaker = Breaker("http://here/v1")
    now = fail(breaker, FAILURES - 1)
    assert breaker.wait(now) == 0.0
    breaker.answered(now)
    now = fail(breaker, FAILURES + 2, now)
    assert breaker.wait(now) > 0.0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "http://here/v1 fails every call (503: busy); pausing" in caplog.text


def test_refusals_while_answers_are_still_due_do_not_open_it() -> None:
    breaker = Breaker("x")
    breaker.answered(0.0)
    for _ in range(100):
        breaker.failed("429", None, tried=False, patience=1.0, now=0.5)
    assert breaker.down_since is None


def test_calls_are_spaced_once_many_failed_in_a_row_and_no_more_after_an_answer() -> None:
    breaker = Breaker("x")
    breaker.answered(0.0)
    for _ in range(FAILURES):
        assert breaker.wait(0.1) == 0.0
        breaker.sent(0.1)
        breaker.failed("503", None, tried=False, patience=1.0, now=0.1)
    assert breaker.down_since is None
    assert breaker.wait(0.1) == pytest.approx(SPACING)
    assert breaker.wait(0.1 + SPACING) == 0.0
    breaker.answered(0.12)
    assert breaker.wait(0.12) == 0.0


def test_one_call_at_a_time_tries_after_pauses_that_grow() -> None:
    breaker = Breaker("x")
    now, pauses = fail(breaker, FAILURES), []
    for _ in range(10):
        pauses.append(breaker.wait(now))
        now += breaker.wait(now)
        assert breaker.sent(now)
        assert breaker.wait(now) == float("inf")
        breaker.failed(
            "late", None, tried=False, patience=1.0, now=now
        )  # of an earlier call: nothing changes
        assert breaker.wait(now) == float("inf")
        breaker.failed("503", None, tried=True, patience=1.0, now=now)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert max(pauses) == LONGEST_PAUSE


def test_an_answer_closes_it_and_its_pauses_are_known() -> None:
    breaker = Breaker("x")
    now = fail(breaker, FAILURES)
    assert breaker.paused(now + 5) == 5
    breaker.answered(now + 7)
    assert breaker.wait(now + 7) == 0.0
    assert breaker.paused(now + 100) == 7


def test_it_waits_as_long_as_the_endpoint_asks() -> None:
    breaker = Breaker("x")
    now = fail(breaker, FAILURES, retry_after=30.0)
    assert breaker.wait(now) == 30.0
