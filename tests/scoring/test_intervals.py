"""The bootstrap against theory and against resampling row by row; McNemar against the binomial."""

from __future__ import annotations

import tracemalloc
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from lmcot_cli.scoring.intervals import (
    bootstrap_mean,
    mcnemar_exact,
    mean_interval,
    paired_interval,
    rows_to_decide,
    tango,
    wilson,
)


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


def test_wilson_is_scipys() -> None:
    for right, rows in ((0, 5), (20, 20), (7, 1000), (50, 100)):
        interval = binomtest(right, rows).proportion_ci(method="wilson")
        found = wilson(right, rows)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_a_proportion_near_0_or_1_has_wilsons_interval_and_any_other_the_bootstraps() -> None:
    assert mean_interval([1.0] * 20) == wilson(20, 20)
    assert mean_interval([0.0] * 991 + [1.0] * 9) == wilson(9, 1000)
    middle = [0.0] * 10 + [1.0] * 10
    assert mean_interval(middle, seed=3) == bootstrap_mean(middle, seed=3)
    shares = [0.5] * 20  # F1, say: no proportion
    assert mean_interval(shares) == bootstrap_mean(shares)


def test_few_changes_have_tangos_interval_and_many_the_bootstraps() -> None:
    assert paired_interval([0.0] * 100) == tango(0, 0, 100)
    assert paired_interval([1.0, -1.0, -1.0] + [0.0] * 97) == tango(1, 2, 100)
    many = [1.0] * 6 + [-1.0] * 4 + [0.0] * 90
    assert paired_interval(many, seed=3) == bootstrap_mean(many, seed=3)
    assert paired_interval([0.5] + [0.0] * 9) == bootstrap_mean([0.5] + [0.0] * 9)


def test_tangos_interval_has_its_closed_forms() -> None:
    """Without losses the score equation can be solved by hand: (n - z^2) / (n + z^2) where all gain."""
    z2 = 1.959964**2
    still, won = tango(0, 0, 100), tango(10, 0, 10)
    assert (still.low, still.high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)), abs=1e-6)
    assert won.low == pytest.approx((10 - z2) / (10 + z2), abs=1e-6)
    assert (won.mean, won.high) == (1.0, pytest.approx(1.0))
    one, other = tango(5, 2, 60), tango(2, 5, 60)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)


def test_tangos_interval_covers_where_changes_are_rare() -> None:
    """100 rows of which 2% get better and 4% worse: the bootstrap covered 92%."""
    drawn = np.random.default_rng(0).multinomial(100, [0.02, 0.04, 0.94], 2000)
    covered = sum((found := tango(g, lost, 100)).low <= -0.02 <= found.high for g, lost, _ in drawn.tolist())
    assert 0.93 <= covered / 2000 <= 0.98


def test_the_rows_that_would_decide_do_and_a_few_less_do_not() -> None:
    rows = rows_to_decide(0, 0, 100, -0.01)
    assert rows is not None
    assert tango(0, 0, rows).low > -0.01 >= tango(0, 0, rows - 2).low
    assert rows_to_decide(1, 2, 100, -0.01) is None  # exactly at the bound: no number does
