"""Loops: what counts as going round in circles."""

from __future__ import annotations

import pytest

from lmcot_train.rewards.penalties import loop_share


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
