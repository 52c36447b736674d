"""Scoring a file of answers."""

from __future__ import annotations

import pytest

from lmcot_cli.errors import InputError
from lmcot_cli.scoring.answers import Answer, Gold
from lmcot_cli.scoring.evaluation import UNTYPED, Evaluation, evaluate
from lmcot_cli.scoring.metrics import Rules
from lmcot_cli.scoring.options import ScoringOptions

OPTIONS = ScoringOptions(resamples=200)


def answer(
    row_id: str, text: str | None, *gold: str, samples: tuple[str | None, ...] = (), kind: str | None = None
) -> Answer:
    return Answer(row_id, "Who?", text, samples, gold, kind, 1)


def run(
    answers: list[Answer], gold: list[Gold] | None = None, options: ScoringOptions = OPTIONS
) -> Evaluation:
    golds = None if gold is None else {row.id: row for row in gold}
    return evaluate({row.id: row for row in answers}, golds, options, "out.jsonl")


def test_means_over_rows_with_gold() -> None:
    result = run(
        [
            answer("1", "red fox", "fox"),
            answer("2", "fox", "fox", "vixen"),
            answer("3", None, "fox"),
            answer("4", " ", "fox"),
            answer("5", "fox"),
        ]
    )
    assert result.overall.rows == 4
    assert result.overall.exact_match.mean == 0.25
    assert result.overall.f1.mean == pytest.approx((2 / 3 + 1) / 4)
    assert result.overall.inclusion.mean == 0.5
    assert result.overall.unanswered == 0.5
    assert (result.without_gold, result.missing, result.unknown) == (("5",), (), ())
    assert not (result.by_type or result.majority_at or result.pass_at)


def test_gold_rows_without_a_record_count_as_wrong() -> None:
    gold = [Gold("1", "Who?", ("fox",), "bridge", 1), Gold("2", "Who?", ("fox",), None, 2)]
    result = run([answer("1", "fox"), answer("9", "fox")], [*gold, Gold("3", "Who?", (), None, 3)])
    assert (result.overall.rows, result.overall.exact_match.mean, result.overall.unanswered) == (2, 0.5, 0.5)
    assert (result.missing, result.unknown, result.without_gold) == (("2", "3"), ("9",), ("3",))


def test_types_come_from_gold_else_from_the_record() -> None:
    gold = [Gold("1", "", ("a",), "z", 1), Gold("2", "", ("b",), None, 2), Gold("3", "", ("c",), None, 3)]
    result = run([answer("1", "x", kind="q"), answer("2", "b", kind="bridge"), answer("3", "c")], gold)
    assert {kind: group.rows for kind, group in result.by_type.items()} == {UNTYPED: 1, "bridge": 1, "z": 1}
    assert result.by_type["bridge"].exact_match.mean == 1


def test_voting_and_retrying() -> None:
    result = run(
        [
            answer("1", "fox", "fox", samples=("hen", "fox", "fox", None)),
            answer("2", "hen", "fox", samples=("hen", "hen", "hen", "fox")),
            answer("3", None, "fox"),  # failed: its samples count as wrong
        ]
    )
    assert {k: estimate.mean for k, estimate in result.majority_at.items()} == {
        1: 0,
        2: 0,
        4: pytest.approx(1 / 3),
    }
    # right 2, 1 and 0 of 4: pass@1 = (2/4 + 1/4) / 3, pass@2 = ((1 - 1/6) + (1 - 3/6)) / 3
    assert {k: estimate.mean for k, estimate in result.pass_at.items()} == {
        1: pytest.approx(0.25),
        2: pytest.approx((5 / 6 + 1 / 2) / 3),
        4: pytest.approx(2 / 3),
    }


def test_rules_are_followed() -> None:
    rows = [answer("1", "yes, both", "yes")]
    assert run(rows).overall.f1.mean == 0
    assert run(rows, options=ScoringOptions(Rules.MUSIQUE)).overall.f1.mean == pytest.approx(2 / 3)


def test_no_gold_anywhere() -> None:
    with pytest.raises(InputError, match=r"out\.jsonl: no row has a gold answer: .* --gold FILE$"):
        run([answer("1", "fox")])


def test_gold_of_other_questions() -> None:
    with pytest.raises(InputError, match=r"out\.jsonl: has no id in common with the gold file"):
        run([answer("1", "fox")], [Gold("2", "", ("fox",), None, 1)])
