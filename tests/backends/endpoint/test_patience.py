"""How long calls may take, by what the endpoint shows."""

from __future__ import annotations

import pytest

from lmcot_cli.backends.endpoint.patience import SOONEST, UNKNOWN, Patience


def learnt(*seconds: float, tokens: int = 10, size: int = 100) -> Patience:
    patience = Patience()
    for number, one in enumerate(seconds):
        patience.learn(number, one, size, tokens)
    return patience


def test_nothing_is_silent_soon_while_little_is_known() -> None:
    assert Patience().longest(100, 256) == UNKNOWN
    assert learnt(0.01).usual(100) == UNKNOWN
    assert learnt(*[0.01] * 20).usual(100) == SOONEST


def test_a_stray_slow_answer_does_not_speak_for_all_but_several_do() -> None:
    assert learnt(*[0.5] * 63, 60.0).usual(100) == 1.5
    assert learnt(*[0.5] * 58, *[60.0] * 6).usual(100) == 180.0


def test_a_call_that_may_write_much_is_waited_for_longer() -> None:
    """Answers of 10 tokens in half a second: 4,000 may take 200 s, and nothing shows that they take less."""
    patience = learnt(*[0.5] * 64)
    assert patience.longest(100, 4000) == 1.5 + 200.0
    assert patience.longest(100, 48) == pytest.approx(1.5 + 2.4)


def test_the_quickest_answer_bounds_the_time_per_token() -> None:
    patience = learnt(*[0.5] * 63)
    patience.learn(64, 0.5, 100, 100)
    assert patience.longest(100, 1000) == 1.5 + 5.0


def test_a_prompt_that_is_longer_than_all_others_is_waited_for_longer() -> None:
    assert learnt(*[0.5] * 64).usual(1000) == 10 * 1.5
    assert learnt(*[0.5] * 64).usual(10) == 1.5


def test_a_call_is_overtaken_when_one_that_was_sent_after_it_is_answered() -> None:
    patience = learnt(*[0.5] * 64)
    assert patience.overtaken(62)
    assert not patience.overtaken(63)
