"""Comparing two files of answers."""

from __future__ import annotations

import pytest

from lmcot_cli.errors import InputError
from lmcot_cli.scoring.answers import Answer, Gold
from lmcot_cli.scoring.comparison import Comparison, Flip, compare
from lmcot_cli.scoring.options import ScoringOptions

OPTIONS = ScoringOptions(resamples=500)


def answers(*texts: str | None, gold: tuple[str, ...] = ("fox",)) -> dict[str, Answer]:
    return {str(n): Answer(str(n), "Who?", text, (), gold, None, n) for n, text in enumerate(texts, 1)}


def run(a: dict[str, Answer], b: dict[str, Answer], gold: dict[str, Gold] | None = None) -> Comparison:
    return compare(a, b, gold, OPTIONS)


def test_differences_and_flips() -> None:
    result = run(answers("fox", "hen", "fox", "red fox"), answers("fox", "fox", None, "fox"))
    assert result.rows == 4
    assert (result.exact_match.a, result.exact_match.b, result.exact_match.difference.mean) == (
        0.5,
        0.75,
        0.25,
    )
    assert result.f1.a == pytest.approx((1 + 0 + 1 + 2 / 3) / 4)
    assert result.f1.difference.mean == pytest.approx(0.75 - (8 / 3) / 4)
    assert (result.mcnemar.only_a_right, result.mcnemar.only_b_right) == (1, 2)
    assert result.mcnemar.p_value == 1  # 2 * (1 + 3) / 8
    assert result.flips == (
        Flip("2", "Who?", "hen", "fox", ("fox",), "b"),
        Flip("3", "Who?", "fox", None, ("fox",), "a"),
        Flip("4", "Who?", "red fox", "fox", ("fox",), "b"),
    )


def test_pairing_is_tighter_than_two_samples() -> None:
    """Rows that both have right or wrong add no spread: two samples of 100 would give 0.10 and more to each side."""
    a = answers(*["fox"] * 50, *["hen"] * 50)
    b = answers(*["fox"] * 51, *["hen"] * 49)
    difference = run(a, b).exact_match.difference
    assert difference.mean == 0.01
    assert -0.03 < difference.low < 0 < difference.high < 0.06


def test_a_file_does_not_differ_from_itself() -> None:
    a = answers("fox", "hen", None)
    result = run(a, a)
    assert (result.flips, result.mcnemar.p_value) == ((), 1)
    difference = result.exact_match.difference
    assert difference.mean == 0
    assert difference.low == -difference.high < 0  # three rows without a change are not a proof of none


def test_swapping_turns_the_difference_round() -> None:
    a, b = answers("fox", "hen", "fox"), answers("hen", "fox", "hen")
    one, other = run(a, b), run(b, a)
    assert one.exact_match.difference.mean == -other.exact_match.difference.mean
    assert one.mcnemar.p_value == other.mcnemar.p_value


def test_rows_of_one_file_only_are_reported() -> None:
    a, b = answers("fox", "fox", "fox"), answers("hen", "fox")
    del b["1"]
    b["9"] = a["1"]
    result = run(a, b)
    assert (result.rows, result.only_in_a, result.only_in_b) == (1, ("1", "3"), ("9",))


def test_gold_file_decides() -> None:
    gold = {"1": Gold("1", "", ("hen",), None, 1)}
    result = run(answers("hen", "fox"), answers("fox", "fox"), gold)
    assert (result.rows, result.exact_match.a, result.without_gold) == (1, 1, ("2",))


def test_gold_of_one_file_serves_both() -> None:
    assert run(answers("fox", gold=()), answers("hen")).exact_match.a == 1


def test_different_gold_is_refused() -> None:
    with pytest.raises(InputError, match=r"different gold answers for '1' \(lines 1 and 1\)"):
        run(answers("fox"), answers("fox", gold=("hen",)))


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(InputError, match="no id in common"):
        run(answers("fox"), {})
    with pytest.raises(InputError, match="--gold FILE"):
        run(answers("fox", gold=()), answers("fox", gold=()))
