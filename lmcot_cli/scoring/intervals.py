"""Intervals of means, proportions and paired differences, and the exact McNemar test.

The bootstrap resamples the observed rows. Where only a few of them are right or wrong, better or worse, it has next to
nothing to resample: 20 right of 20 gave the interval 100 to 100. Score intervals, which hold their level, replace it
there: Wilson's for a proportion, and Tango's for the difference of paired proportions.
Needs NumPy; SciPy only for the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95

FEW = 10
"""With fewer right or wrong rows than this, or fewer that changed, score intervals replace the bootstrap."""

_CHUNK_CELLS = 2**21  # counts held at once: 16 MiB
_MOST_TIMES_THE_ROWS = 10_000
"""The most times the rows at hand that `rows_to_decide` considers."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: ArrayLike, *, seed: int = 0, resamples: int = 10_000, confidence: float = CONFIDENCE
) -> Estimate:
    """Estimate the mean of a score with a percentile bootstrap interval over rows.

    Given the differences of paired rows, this is the paired bootstrap. The order of the rows does not matter.

    Args:
        values: One score per row, shape (rows,), at least one.
        seed: Seed of the resampling.
        resamples: Number of resamples, with replacement.
        confidence: Share of the resampled means inside the interval.
    """
    scores = np.asarray(values, dtype=np.float64)
    means = _resampled_means(scores, np.random.default_rng(seed), resamples)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Estimate(float(scores.mean()), float(low), float(high))


def _resampled_means(scores: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Return the means of `resamples` resamples, shape (resamples,).

    The counts of the distinct scores are multinomial, so rows with equal scores are drawn together: the cost grows
    with the number of distinct scores (two for exact match), not of rows.
    """
    distinct, counts = np.unique(scores, return_counts=True)
    chunk = max(1, _CHUNK_CELLS // len(distinct))
    sizes = [min(chunk, resamples - done) for done in range(0, resamples, chunk)]
    rows = len(scores)
    return np.concatenate([rng.multinomial(rows, counts / rows, size) @ distinct for size in sizes]) / rows


def mean_interval(values: ArrayLike, *, seed: int = 0, resamples: int = 10_000) -> Estimate:
    """Estimate the mean of a score: Wilson's interval for a proportion near 0 or 1, else the bootstrap's.

    Args:
        values: One score per row, shape (rows,), at least one.
        seed: Seed of the resampling.
        resamples: Number of resamples.
    """
    scores = np.asarray(values, dtype=np.float64)
    right, wrong = int((scores == 1).sum()), int((scores == 0).sum())
    if right + wrong == len(scores) and min(right, wrong) < FEW:
        return wilson(right, len(scores))
    return bootstrap_mean(scores, seed=seed, resamples=resamples)


def paired_interval(changes: ArrayLike, *, seed: int = 0, resamples: int = 10_000) -> Estimate:
    """Estimate the mean change of paired rows: Tango's interval where few changed, else the bootstrap's.

    Args:
        changes: The second score less the first, one per row, shape (rows,), at least one.
        seed: Seed of the resampling.
        resamples: Number of resamples.
    """
    scores = np.asarray(changes, dtype=np.float64)
    gains, losses, same = (int((scores == value).sum()) for value in (1, -1, 0))
    if gains + losses + same == len(scores) and gains + losses < FEW:
        return tango(gains, losses, len(scores))
    return bootstrap_mean(scores, seed=seed, resamples=resamples)


def wilson(right: int, rows: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return a proportion with its score interval (Wilson 1927, J. Am. Stat. Assoc. 22:209)."""
    z, share = _z(confidence), right / rows
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return Estimate(share, max(middle - half, 0.0), min(middle + half, 1.0))


def tango(gains: float, losses: float, rows: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return the difference of two paired proportions with its score interval (Tango 1998, Stat. Med. 17:891).

    Args:
        gains: Rows that only the second has right.
        losses: Rows that only the first has right.
        rows: All rows, including those that both have right or wrong.
        confidence: The level of the interval.
    """
    z, change = _z(confidence), (gains - losses) / rows

    def score(difference: float) -> float:
        b = 2 * rows * difference - (gains + losses) + (losses - gains) * difference
        c = -losses * difference * (1 - difference)
        only_first = (sqrt(max(b * b - 8 * rows * c, 0.0)) - b) / (4 * rows)
        variance = rows * (2 * only_first + difference * (1 - difference))
        gap = gains - losses - rows * difference
        return gap / sqrt(variance) if variance > 0 else float("inf") * gap if gap else 0.0

    low = _crossing(lambda difference: score(difference) - z, -1.0, change)
    high = _crossing(lambda difference: score(difference) + z, change, 1.0)
    return Estimate(change, low, high)


def rows_to_decide(gains: int, losses: int, rows: int, bound: float) -> int | None:
    """Return how many rows like these would show on which side of `bound` the difference lies.

    Returns:
        The number of rows; None where the difference is too close to the bound for any practical number.
    """

    def undecided(times: float) -> bool:
        found = tango(gains * times, losses * times, rows * times)
        return found.low <= bound <= found.high

    if undecided(_MOST_TIMES_THE_ROWS):
        return None
    enough, short = float(_MOST_TIMES_THE_ROWS), 1.0
    while enough - short > 0.001 * short:
        middle = (enough + short) / 2
        enough, short = (enough, middle) if undecided(middle) else (middle, short)
    return ceil(enough * rows)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function crosses 0 between two places; the nearer place where it does not."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided exact McNemar p-value of a paired comparison of right and wrong.

    Args:
        only_first: Pairs that the first has right and the second wrong.
        only_second: Pairs that the second has right and the first wrong.
    """
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
