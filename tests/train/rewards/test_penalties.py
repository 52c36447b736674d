"""Loops: what counts as going round in circles. Support: what an answer needs."""

from __future__ import annotations

import pytest

from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_train.rewards.chain import read_chain
from lmcot_train.rewards.penalties import loop_share, unsupported

ROW = Row(
    id="1",
    question="Where was the director of Silent River born?",
    context=(
        Paragraph("Silent River", ("Silent River was directed by Ann Moore.",)),
        Paragraph("Ann Moore", ("Ann Moore was born in Oslo.", "She married Al Stone.")),
        Paragraph("Al Stone", ("Al Stone was born in Rome.",)),
    ),
    answers=("Oslo",),
    type=None,
    rationale=None,
    line=1,
)
FIRST = "Silent River was directed by Ann Moore."


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("a b c d", 0.0),
        ("a a", 0.0),  # twice is no loop
        ("a a a", 2 / 3),  # the second and third say nothing new
        ("x a b a b a b", 4 / 7),
        ("a b a b a", 0.0),  # two rounds and a half
        ("1990 1991 1992 1993", 0.0),
        (" ".join(["one two three four five six seven eight nine ten eleven twelve"] * 3), 24 / 36),
    ],
)
def test_a_loop_counts_from_its_second_round(text: str, share: float) -> None:
    assert loop_share(text.split()) == pytest.approx(share)


def test_an_answer_that_every_hop_bears_out_has_support() -> None:
    assert unsupported(read_chain(ROW, f"{FIRST} Ann Moore was born in Oslo.", "Oslo")) == 0.0


@pytest.mark.parametrize(
    ("text", "answer", "lacking"),
    [
        ("Oslo.", "Oslo", 1.0),
        ("The answer is Oslo.", "Oslo", 1.0),
        (f"{ROW.question} Oslo.", "Oslo", 1.0),
        (FIRST, "Oslo", 3 / 4),  # a route that breaks off
        (f"{FIRST} Ann Moore was born in Rome.", "Rome", 7 / 8),  # one of two names, a quarter of a half
        ("", "Oslo", 1.0),
    ],
)
def test_a_right_answer_from_nothing_lacks_it(text: str, answer: str, lacking: float) -> None:
    assert unsupported(read_chain(ROW, text, answer)) == pytest.approx(lacking)


def test_without_answer_or_context_there_is_nothing_to_support() -> None:
    closed = Row("1", ROW.question, (), ("Oslo",), None, None, 1)
    assert unsupported(read_chain(ROW, "", None)) == 0.0
    assert unsupported(read_chain(closed, "Oslo.", "Oslo")) == 0.0


def test_a_comparison_is_supported_on_both_sides_or_by_half() -> None:
    row = Row("1", "Were Ann Moore and Al Stone born in one city?", ROW.context, ("no",), None, None, 1)
    one, other = "Ann Moore was born in Oslo.", "Al Stone was born in Rome."
    assert unsupported(read_chain(row, f"{one} {other}", "no")) == 0.0
    assert unsupported(read_chain(row, one, "no")) == pytest.approx(1 / 2)


def test_a_loop_of_very_many_words_is_counted_at_once() -> None:
    """It took time by the square of the words: a minute for 16,000 of them."""
    assert loop_share(["on", "and"] * 200_000) == pytest.approx(1.0, abs=1e-4)
