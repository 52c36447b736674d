"""The bootstrap against theory and against resampling row by row; McNemar against the binomial."""

from __future__ import annotations

import tracemalloc
from math import comb

import numpy as np
import pytest

from lmcot_cli.scoring.intervals import bootstrap_mean, mcnemar_exact


def test_equal_scores_have_no_spread() -> None:
    estimate = bootstrap_mean([1.0] * 20)
    assert (estimate.mean, estimate.low, estimate.high) == (1, 1, 1)


def test_one_row_is_its_own_interval() -> None:
    assert bootstrap_mean([0.25]).low == bootstrap_mean([0.25]).high == 0.25


def test_right_and_wrong_follow_the_binomial() -> None:
    # 400 rows, half right: the resampled means have a standard deviation of sqrt(0.25 / 400) = 0.025
    estimate = bootstrap_mean([0.0, 1.0] * 200)
    assert estimate.mean == 0.5
    assert estimate.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.004)
    assert estimate.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.004)


def test_same_interval_as_resampling_row_by_row() -> None:
    rng = np.random.default_rng(5)
    scores = rng.choice([0.0, 0.4, 0.5, 2 / 3, 1.0], size=150)
    means = scores[rng.integers(0, 150, size=(10_000, 150))].mean(axis=1)
    estimate = bootstrap_mean(scores)
    assert estimate.low == pytest.approx(np.quantile(means, 0.025), abs=0.01)
    assert estimate.high == pytest.approx(np.quantile(means, 0.975), abs=0.01)


def test_seed_decides_and_order_does_not() -> None:
    scores = [0.0, 1.0, 0.5, 0.25, 1.0, 0.0, 0.1]
    assert bootstrap_mean(scores, seed=3) == bootstrap_mean(scores[::-1], seed=3)
    assert bootstrap_mean(scores, seed=3, resamples=50) != bootstrap_mean(scores, seed=4, resamples=50)


def test_coverage() -> None:
    """About 95 of 100 intervals hold the true mean of 0.3."""
    rng = np.random.default_rng(1)
    estimates = [bootstrap_mean(rng.random(300) < 0.3, resamples=1000) for _ in range(300)]
    held = sum(estimate.low <= 0.3 <= estimate.high for estimate in estimates)
    assert 0.91 <= held / 300 <= 0.99


def test_memory_is_bounded_for_many_distinct_scores() -> None:
    scores = np.random.default_rng(0).random(20_000)
    tracemalloc.start()
    try:
        bootstrap_mean(scores, resamples=300)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * 2**20  # 300 x 20,000 counts at once would be 48 MB


@pytest.mark.parametrize(("only_a", "only_b"), [(1, 0), (3, 10), (10, 3), (0, 6), (5, 5)])
def test_mcnemar_is_the_two_sided_binomial(only_a: int, only_b: int) -> None:
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(comb(n, i) for i in range(k + 1)) / 2**n
    assert mcnemar_exact(only_a, only_b) == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_without_a_difference() -> None:
    assert mcnemar_exact(0, 0) == 1
