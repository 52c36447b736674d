"""Which rationales are left out, and why: one that just passes each filter, and one that just does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import UsageError
from lmcot_train.rationales.filters import FILTERS, Candidate, FilterOptions, reason_against

LONG = "Oslo is a city with seven old towns and ten new ones around it."  # 14 words
ROW = Row(
    "1",
    "Where was Ann Moore born?",
    (Paragraph("Oslo", (LONG, "Ann was born there.")),),
    ("Oslo",),
    None,
    None,
    1,
)
GOOD = Candidate(ROW, "Ann Moore was born in Oslo.", "Oslo")
DEFAULTS = FilterOptions()


def without(rationale: str, **settings: int) -> str | None:
    return reason_against(GOOD._replace(rationale=rationale), FilterOptions(**settings))


def test_a_good_rationale_passes() -> None:
    assert reason_against(GOOD, DEFAULTS) is None


def test_a_wrong_answer_is_left_out_by_exact_match_or_by_f1() -> None:
    near = GOOD._replace(answer="Oslo, Norway")
    assert reason_against(near, DEFAULTS) == "wrong answer"
    assert reason_against(near, FilterOptions(min_f1=0.6)) is None  # F1 is 2/3
    assert reason_against(near, FilterOptions(min_f1=0.7)) == "wrong answer"
    assert reason_against(GOOD._replace(answer=None), DEFAULTS) == "wrong answer"


def test_without_a_gold_answer_nothing_can_be_judged() -> None:
    row = replace(ROW, answers=())
    assert reason_against(GOOD._replace(row=row), DEFAULTS) == "no gold answer"
    assert reason_against(GOOD._replace(row=row, judged=False), DEFAULTS) is None


def test_a_rationale_has_to_name_the_answer() -> None:
    assert without("Ann Moore was born up north.") == "answer not in it"
    assert without("Ann Moore was born in Osloville.") == "answer not in it"
    yes = replace(ROW, answers=("yes",))
    assert reason_against(Candidate(yes, "Ann Moore was born up north.", "yes"), DEFAULTS) is None


def test_length_counts_in_words() -> None:
    assert without("Ann Moore: Oslo.", min_words=3) is None
    assert without("Ann Moore: Oslo.", min_words=4) == "too short"
    assert without("Ann Moore was born in Oslo.", max_words=6) is None
    assert without("Ann Moore was born in Oslo.", max_words=5) == "too long"


def test_loops_are_words_three_times_in_a_row_or_a_sentence_twice() -> None:
    assert without("It was Oslo Oslo for Ann.") is None
    assert without("It was Oslo Oslo Oslo for Ann.") == "loops"
    assert without("Ann was born in Oslo. It is cold. Ann was born in Oslo.") == "loops"


def test_a_copy_is_a_long_run_of_one_paragraph() -> None:
    assert without(LONG, max_copied=14) is None
    assert without(LONG, max_copied=13) == "copies the context"
    assert without(f"{LONG} Ann was born there.", max_copied=17) == "copies the context"  # over two sentences
    assert without(LONG.replace("seven", "eight"), max_copied=13) is None


def test_every_reason_has_its_definition() -> None:
    given = {"no gold answer", "wrong answer", "answer not in it", "too short", "too long", "loops"}
    assert given < FILTERS.keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (FilterOptions(min_f1=1.5), "--min-f1 1.5"),
        (FilterOptions(min_words=9, max_words=8), r"--min-words 9: give no more than --max-words \(8\)"),
        (FilterOptions(max_copied=0), "--max-copied 0"),
    ],
)
def test_bounds_that_nothing_can_meet_are_refused(options: FilterOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options.check()
