"""Scores against values worked by hand, and what holds for any answers."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.scoring.metrics import NO_SCORE, Rules, Scores, exact_match, score_answer

ALL_RULES = list(Rules)
WORDS = st.sampled_from(["yes", "no", "noanswer", "the", "a", "red", "Red", "fox", "1,000", "."])
ANSWERS = st.lists(WORDS, max_size=5).map(" ".join) | st.text(max_size=8)


@pytest.mark.parametrize("rules", ALL_RULES)
@pytest.mark.parametrize(
    ("prediction", "gold", "scores"),
    [
        ("The Red Fox.", "red fox", Scores(1, 1, 1, 1, 1)),
        # 2 of 3 predicted tokens are right, 2 of 2 gold ones found: F1 = 2 * 2/3 * 1 / (5/3) = 0.8
        ("quick red fox", "red fox", Scores(0, 0.8, 2 / 3, 1, 1)),
        ("red quick fox", "red fox", Scores(0, 0.8, 2 / 3, 1, 0)),  # found, but not in one run
        # multisets: "fox fox" shares one fox with "fox": P 1/2, R 1
        ("fox fox", "fox", Scores(0, 2 / 3, 0.5, 1, 1)),
        ("redfox", "red fox", Scores(0, 0, 0, 0, 0)),
        ("foxes", "fox", Scores(0, 0, 0, 0, 0)),  # inclusion is of whole tokens
        ("1,000 people", "1000", Scores(0, 2 / 3, 0.5, 1, 1)),
        ("", "fox", Scores(0, 0, 0, 0, 0)),
        ("yes", "Yes.", Scores(1, 1, 1, 1, 1)),
    ],
)
def test_all_rules_agree(prediction: str, gold: str, scores: Scores, rules: Rules) -> None:
    assert astuple(score_answer(prediction, [gold], rules)) == pytest.approx(astuple(scores))


@pytest.mark.parametrize(
    ("prediction", "gold"), [("yes, both", "yes"), ("no", "no way"), ("noanswer", "noanswer given")]
)
@pytest.mark.parametrize("rules", [Rules.HOTPOTQA, Rules.TWOWIKI])
def test_closed_answers_get_no_partial_credit(prediction: str, gold: str, rules: Rules) -> None:
    scores = score_answer(prediction, [gold], rules)
    assert (scores.f1, scores.precision, scores.recall, scores.exact_match) == (0, 0, 0, 0)


def test_musique_gives_partial_credit_for_closed_answers() -> None:
    # P 1/2, R 1: F1 2/3
    scores = score_answer("yes, both", ["yes"], Rules.MUSIQUE)
    assert [scores.f1, scores.precision, scores.recall] == pytest.approx([2 / 3, 0.5, 1])


@pytest.mark.parametrize(("rules", "f1"), [(Rules.HOTPOTQA, 0), (Rules.TWOWIKI, 0), (Rules.MUSIQUE, 1)])
def test_nothing_left_of_both(rules: Rules, f1: float) -> None:
    scores = score_answer("The", ["a"], rules)
    assert (scores.exact_match, scores.f1, scores.inclusion) == (1, f1, 1)


def test_nothing_left_of_gold_alone_is_not_included() -> None:
    assert score_answer("fox", ["The"]) == NO_SCORE


def test_each_score_is_the_best_by_itself() -> None:
    # against "red": P 1/3, R 1; against "red fox and hen house": P 2/3, R 2/5
    scores = score_answer("red fox jumps", ["red", "red fox and hen house"], Rules.TWOWIKI)
    assert [scores.precision, scores.recall] == pytest.approx([2 / 3, 1])
    assert scores.f1 == pytest.approx(max(2 * (1 / 3) / (4 / 3), 2 * (2 / 3) * (2 / 5) / (2 / 3 + 2 / 5)))
    assert (scores.exact_match, scores.inclusion) == (0, 1)


@pytest.mark.parametrize("rules", ALL_RULES)
def test_a_missing_answer_scores_nothing_even_against_an_empty_gold(rules: Rules) -> None:
    assert score_answer(None, ["The"], rules) == NO_SCORE
    assert not exact_match(None, ["The"])


@given(ANSWERS, st.lists(ANSWERS, min_size=1, max_size=3), st.sampled_from(ALL_RULES))
def test_scores_are_shares_and_exact_match_implies_the_rest(
    prediction: str, accepted: list[str], rules: Rules
) -> None:
    scores = score_answer(prediction, accepted, rules)
    assert all(0 <= score <= 1 for score in astuple(scores))
    assert scores.exact_match <= scores.inclusion
    assert scores.exact_match == exact_match(prediction, accepted)
    if scores.exact_match and any(
        word.isalpha() for word in prediction.lower().split() if word not in "a an the"
    ):
        assert scores.f1 == pytest.approx(1)


@given(ANSWERS, ANSWERS, st.sampled_from(ALL_RULES))
def test_swapping_prediction_and_gold_swaps_precision_and_recall(a: str, b: str, rules: Rules) -> None:
    one, other = score_answer(a, [b], rules), score_answer(b, [a], rules)
    assert (one.precision, one.recall) == (other.recall, other.precision)
    assert [one.f1, one.exact_match] == pytest.approx([other.f1, other.exact_match])


@given(ANSWERS, st.lists(ANSWERS, min_size=1, max_size=3), ANSWERS, st.sampled_from(ALL_RULES))
def test_another_accepted_answer_never_hurts(
    prediction: str, accepted: list[str], another: str, rules: Rules
) -> None:
    before = astuple(score_answer(prediction, accepted, rules))
    after = astuple(score_answer(prediction, [*accepted, another], rules))
    assert all(new >= old for new, old in zip(after, before, strict=True))
