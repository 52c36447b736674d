"""Bootstrap intervals of means, and the exact McNemar test. Needs NumPy; SciPy only for the test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95

_CHUNK_CELLS = 2**21  # counts held at once: 16 MiB


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

    Given the differences of paired rows, this is the paired bootstrap. The order of the rows plays no part.

    Args:
        values: One score a row, shape (rows,), at least one.
        seed: Seeds the resampling.
        resamples: How many times to draw as many rows again, with replacement.
        confidence: Share of the resampled means inside the interval.
    """
    scores = np.asarray(values, dtype=np.float64)
    means = _resampled_means(scores, np.random.default_rng(seed), resamples)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Estimate(float(scores.mean()), float(low), float(high))


def _resampled_means(scores: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Return the means of `resamples` resamples, shape (resamples,).

    How often each distinct score is drawn is multinomial, so rows with equal scores are drawn together: the
    cost grows with the number of distinct scores (two for exact match), not of rows.
    """
    distinct, counts = np.unique(scores, return_counts=True)
    chunk = max(1, _CHUNK_CELLS // len(distinct))
    sizes = [min(chunk, resamples - done) for done in range(0, resamples, chunk)]
    rows = len(scores)
    return np.concatenate([rng.multinomial(rows, counts / rows, size) @ distinct for size in sizes]) / rows


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided exact McNemar p-value of a paired comparison of right and wrong.

    Args:
        only_first: Pairs that the first has right and the second wrong.
        only_second: Pairs that the second has right and the first wrong.
    """
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
