"""maj@k and pass@k."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.scoring.self_consistency import majority_at_k, pass_at_k, sample_counts


@pytest.mark.parametrize(
    ("most", "counts"), [(0, []), (1, [1]), (2, [1, 2]), (5, [1, 2, 4, 5]), (8, [1, 2, 4, 8])]
)
def test_sample_counts(most: int, counts: list[int]) -> None:
    assert sample_counts(most) == counts


@pytest.mark.parametrize(
    ("answers", "k", "right"),
    [
        (["fox", "hen", "hen"], 1, 0),
        (["fox", "hen", "hen"], 2, 0),  # a tie goes to the first
        (["hen", "fox", "fox"], 2, 1),
        (["fox", "The Hen", "hen."], 3, 1),  # equal once normalised
        ([None, None, "hen"], 3, 1),  # no answer, no vote
        ([None, "hen"], 1, 0),
        ([], 1, 0),
    ],
)
def test_majority(answers: list[str | None], k: int, right: float) -> None:
    assert majority_at_k(answers, ["hen"], k) == right


def test_pass_by_hand() -> None:
    # 5 samples, 2 right, 2 tries: 1 - C(3, 2) / C(5, 2) = 1 - 3/10
    assert pass_at_k(2, 5, 2) == pytest.approx(0.7)
    assert pass_at_k(0, 5, 5) == 0
    assert pass_at_k(1, 5, 5) == 1


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_is_the_share_of_subsets_with_a_right_one(samples: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(samples)))
    subsets = list(combinations(samples, k))
    expected = sum(map(any, subsets)) / len(subsets)
    assert pass_at_k(sum(samples), len(samples), k) == pytest.approx(expected)
