import math
from dataclasses import replace

import pytest

from lmcot_cli.scoring.answers import Answer
from lmcot_cli.scoring.comparison import Comparison, compare
from lmcot_cli.scoring.options import ScoringOptions
from lmcot_export.verify.checks import (
    check_answers,
    check_logits,
    check_prompts,
    check_rationales,
    check_special_tokens,
    check_tokens,
)
from lmcot_export.verify.divergence import Divergence
from lmcot_export.verify.options import EXACT, NEAR, Threshold
from lmcot_export.verify.subject import SpecialTokens

SPECIAL = SpecialTokens(1, 2, frozenset({2, 9}), adds_bos=True, adds_eos=False, has_template=True)


def test_the_first_token_that_differs_is_shown() -> None:
    check = check_tokens("token ids", ["a", "b c"], [[1], [1, 2, 3]], [[1], [1, 5]])
    assert check.passed is False
    assert "1 of 2 texts" in check.detail
    assert "'b c', from token 1: [2, 3] in the source, [5] in the export" in check.detail
    assert check_tokens("token ids", ["a"], [[1]], [[1]]).passed is True


def test_the_first_character_that_differs_is_shown() -> None:
    check = check_prompts(["<s>user\nhi", "x"], ["<s>user hi", "x"])
    assert check.passed is False
    assert "from character 7: '\\nhi' in the source, ' hi' in the export" in check.detail
    assert check_prompts(["x"], ["x"]).passed is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"eos": 3}, "the end-of-text token is 2 in the source, 3 in the export"),
        ({"bos": 3}, "the beginning-of-text token is 1"),
        ({"adds_bos": False}, "adding the beginning-of-text token is on in the source, off in the export"),
        ({"adds_eos": True}, "adding the end-of-text token is off in the source, on in the export"),
        ({"has_template": False}, "a chat template is on in the source, off in the export"),
        ({"ends": frozenset({2})}, "tokens [9] end a text in the source only"),
    ],
)
def test_each_difference_of_control_tokens_fails(change: dict[str, object], words: str) -> None:
    check = check_special_tokens(SPECIAL, replace(SPECIAL, **change))  # type: ignore[arg-type]
    assert check.passed is False
    assert words in check.detail


def test_more_ends_and_a_first_token_that_is_never_added_are_no_fault() -> None:
    without = replace(SPECIAL, bos=None, adds_bos=False)
    assert check_special_tokens(without, replace(without, bos=11, ends=frozenset({2, 9, 10}))).passed is True


@pytest.mark.parametrize(
    ("found", "threshold", "passed"),
    [
        (Divergence(9, 1e-9, 1e-5, 1.0), EXACT, True),
        (Divergence(9, 1e-9, 2e-4, 1.0), EXACT, False),
        (Divergence(9, 1e-9, 1e-5, 0.9999), EXACT, False),
        (Divergence(9, 1e-3, 9.0, 0.99), NEAR, True),
        (Divergence(9, 1e-2, 9.0, 0.99), NEAR, False),
        (Divergence(9, math.nan, math.nan, 1.0), NEAR, False),
        (Divergence(9, math.nan, math.nan, 1.0), EXACT, False),
        (Divergence(9, 9.0, 9.0, 0.0), Threshold(), None),
    ],
)
def test_logits_are_held_to_the_threshold(
    found: Divergence, threshold: Threshold, passed: bool | None
) -> None:
    assert check_logits(found, threshold).passed is passed


def test_rationales_are_counted_and_judged_where_asked() -> None:
    assert check_rationales([True] * 7 + [False] * 3, EXACT).passed is False
    assert check_rationales([True] * 8 + [False] * 2, EXACT).passed is True
    assert check_rationales([True, False], NEAR).passed is None
    assert "1 of 2" in check_rationales([True, False], NEAR).detail


def comparison(rows: int, lost: int, won: int) -> Comparison:
    """Rows of which the export loses some, wins some and has the others right like the source."""
    right, wrong = "Lyon", "Nice"
    source = [right] * lost + [wrong] * won + [right] * (rows - lost - won)
    export = [wrong] * lost + [right] * won + [right] * (rows - lost - won)
    return compare(*({str(i): answer(str(i), text) for i, text in enumerate(texts)} for texts in (source, export)),
                   None, ScoringOptions())  # fmt: skip


def answer(id: str, text: str) -> Answer:
    return Answer(
        id=id, question=None, text=text, samples=(), accepted=("Lyon",), type=None, line=1, failed=False
    )


def test_answers_pass_only_where_the_whole_interval_is_above_the_margin() -> None:
    assert check_answers(comparison(rows=400, lost=0, won=0), NEAR).passed is True
    assert check_answers(comparison(rows=400, lost=40, won=2), NEAR).passed is False
    assert check_answers(comparison(rows=400, lost=40, won=2), Threshold()).passed is None
    assert check_answers(None, NEAR).passed is None


def test_too_few_rows_are_inconclusive_and_the_check_says_how_many_would_do() -> None:
    """Twenty equal answers once passed as "no loss": they are as likely from an export that loses one in ten."""
    check = check_answers(comparison(rows=20, lost=0, won=0), NEAR)
    assert (check.passed, check.inconclusive) == (None, True)
    assert "about 381 rows would decide" in check.detail
    at_the_margin = check_answers(comparison(rows=100, lost=2, won=1), NEAR)
    assert "no number of rows would decide" in at_the_margin.detail
