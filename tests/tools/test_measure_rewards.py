"""R_aspect ranks a gold rationale above bad ones: held on fewer rows than tools/measure_rewards.py reports."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import pytest

from tools.measure_rewards import PairTally, aspect_mean, compare, hotpotqa, microhop, show

REAL_FILE = Path(__file__).parents[3] / "shared" / "data" / "train" / "hotpotqa_train.jsonl"
ROWS = 100
WORSE = (
    "wrong binding", "bare answer", "answer as sentence", "words shuffled", "words of each sentence shuffled",
    "random words of the context", "gold of another row", "question and answer", "whole context", "gold twice",
)  # fmt: skip
NO_BETTER = (
    "gold, 'The answer is yes.'", "gold, 'The answer is ...'", "question, then gold", "last sentence 3 times",
)  # fmt: skip


@pytest.fixture(scope="module", params=["MicroHop", "HotpotQA"])
def tallies(request: pytest.FixtureRequest) -> Mapping[str, PairTally]:
    """Compare on the rows that settings are chosen by; those that figures are reported on are not looked at here."""
    if request.param == "HotpotQA" and not REAL_FILE.exists():
        pytest.skip("the HotpotQA rows are not here")
    cases = hotpotqa(REAL_FILE, "tune") if request.param == "HotpotQA" else microhop("tune")
    return compare(list(islice(cases, ROWS)), lambda row, given: aspect_mean(row, given, known=True))


@pytest.mark.parametrize("name", WORSE)
def test_gold_is_above_what_is_worse(tallies: Mapping[str, PairTally], name: str) -> None:
    assert tallies[name].pairs >= 0.9 * ROWS
    assert tallies[name].above >= 0.95 * tallies[name].pairs


@pytest.mark.parametrize("name", NO_BETTER)
def test_nothing_is_to_be_gained_by_what_adds_nothing(tallies: Mapping[str, PairTally], name: str) -> None:
    assert tallies[name].above + tallies[name].level >= 0.95 * ROWS


def test_the_table_names_every_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(list(islice(microhop("tune"), 2)), lambda row, given: float(row.id == "0"))
    show("Two rows", found)
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*WORSE, *NO_BETTER))
    assert "0.0 (" in printed
    assert "100.0" in printed
