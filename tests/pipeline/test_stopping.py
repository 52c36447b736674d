import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.stopping import (
    Beta,
    DrawAll,
    Lossless,
    StoppingRule,
    Window,
    majority_probability,
    parse_stop,
)
from lmcot_cli.pipeline.vote import Ballot, count_votes

answers = st.lists(st.none() | st.sampled_from(["Paris", "paris.", "Lyon", "Nice"]), min_size=1, max_size=24)


def ballots(answers: Sequence[str | None]) -> list[Ballot]:
    return [Ballot(answer) for answer in answers]


def drawn_by(rule: StoppingRule, samples: Sequence[Ballot]) -> list[Ballot]:
    """Draw from samples as a row would."""
    drawn: list[Ballot] = []
    while wave := rule.next_wave(drawn, len(samples)):
        assert wave <= len(samples) - len(drawn)
        drawn += samples[len(drawn) : len(drawn) + wave]
    return drawn


@given(answers)
def test_none_draws_all_at_once(samples: list[str | None]):
    assert DrawAll().next_wave([], len(samples)) == len(samples)
    assert drawn_by(DrawAll(), ballots(samples)) == ballots(samples)


@given(answers)
def test_lossless_has_the_winner_of_all_samples(samples: list[str | None]):
    all_votes = ballots(samples)

    assert count_votes(drawn_by(Lossless(), all_votes)).answer == count_votes(all_votes).answer


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0.01, 1)), min_size=1, max_size=20))
def test_lossless_has_the_winner_of_a_weighted_vote_too(samples: list[tuple[str, float]]):
    all_votes = [Ballot(*sample) for sample in samples]
    sums = sorted((math.fsum(w for a, w in samples if a == answer) for answer in "abc"), reverse=True)
    if sums[0] - sums[1] < 1e-6:
        return  # a tie within rounding has no winner to speak of

    assert count_votes(drawn_by(Lossless(), all_votes)).answer == count_votes(all_votes).answer


@given(answers)
def test_lossless_stops_as_early_as_can_be(samples: list[str | None]):
    drawn = drawn_by(Lossless(), ballots(samples))
    if len(drawn) < 2:
        return
    before = drawn[:-1]
    winner = count_votes(drawn).answer
    left = len(samples) - len(before)
    others = [
        count_votes([*before, *ballots([rival] * left)]).answer for rival in ("Nice", "Lyon", "Paris", "new")
    ]

    assert any(other != winner for other in others) or count_votes(before).answer is None


def test_sixteen_samples_that_agree_need_eight():
    assert len(drawn_by(Lossless(), ballots(["Paris"] * 16))) == 8
    assert Lossless().next_wave([], 16) == 8


def test_a_runner_up_that_can_draw_level_keeps_the_vote_open():
    # 4 : 2 with 2 left: the runner-up may reach 4 and may have been first.
    assert Lossless().next_wave(ballots(["b", "a", "a", "a", "a", "b"]), 8) > 0
    assert Lossless().next_wave(ballots(["b", "a", "a", "a", "a", "b", "a"]), 8) == 0


def test_beta_is_the_criterion_of_the_paper():
    # Under a uniform prior P(p1 > p2) after 4 : 0 is 1 - 0.5^5.
    assert majority_probability(4, 0) == pytest.approx(1 - 0.5**5)
    assert majority_probability(3, 3) == pytest.approx(0.5)
    # By symmetry of I_x(a, b) = 1 - I_{1-x}(b, a).
    assert majority_probability(5, 2) == pytest.approx(1 - majority_probability(2, 5))
    assert len(drawn_by(Beta(0.95), ballots(["Paris"] * 40))) == 4
    assert len(drawn_by(Beta(0.99), ballots(["Paris"] * 40))) == 6


@given(answers, st.floats(0.55, 0.99))
def test_beta_draws_what_a_look_after_every_sample_would_draw(samples: list[str | None], confidence: float):
    rule, all_votes = Beta(confidence), ballots(samples)
    one_by_one = next(
        count for count in range(len(samples) + 1) if rule.next_wave(all_votes[:count], len(samples)) == 0
    )

    assert len(drawn_by(rule, all_votes)) == one_by_one


def test_a_window_of_one_answer_ends_it():
    samples = ["a", "b", "a", "A", "the a.", "a", "a", "b", "b"]

    assert len(drawn_by(Window(3), ballots(samples))) == 6
    assert len(drawn_by(Window(3), ballots([None] * 7))) == 7
    assert len(drawn_by(Window(5), ballots(["a"] * 7))) == 5


def test_a_window_that_was_begun_is_filled_before_it_is_looked_at():
    assert Window(5).next_wave(ballots(["a"]), 20) == 4
    assert Window(3).next_wave(ballots(["b", "a", "a", "a"]), 20) == 2
    assert Window(3).next_wave(ballots(["b", "a", "a", "a"]), 5) == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("none", DrawAll()),
        ("lossless", Lossless()),
        ("beta", Beta(0.95)),
        ("beta:0.9", Beta(0.9)),
        ("window", Window(5)),
        ("window:3", Window(3)),
    ],
)
def test_rules_are_read_as_they_are_written(text: str, rule: StoppingRule):
    assert parse_stop(text) == rule


@pytest.mark.parametrize(
    "text",
    ["", "all", "beta:", "beta:0.5", "beta:1", "beta:nan", "beta:x", "window:1", "window:2.5", "none:1"],
)
def test_what_is_no_rule_is_refused(text: str):
    with pytest.raises(UsageError, match="window:5"):
        parse_stop(text)
