"""What a vote over k samples, or k tries, would score, computed from stored samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import comb

from lmcot_cli.scoring.metrics import exact_match
from lmcot_cli.scoring.normalize import normalize_answer


def sample_counts(most: int) -> list[int]:
    """Return 1, 2, 4, ... up to `most`, and `most` itself."""
    return sorted({1 << power for power in range(most.bit_length())} | {most}) if most else []


def majority_at_k(answers: Sequence[str | None], accepted: Sequence[str], k: int) -> float:
    """Return 1 if the vote of the first k samples is right by exact match, else 0.

    The first k stand for any k, because all samples are drawn alike: a run with `--samples k` that is otherwise the
    same (temperature and seed too) would score this. Answers that are equal once normalised vote together, a sample
    without an answer does not vote, and a tie goes to the answer that came first.
    """
    votes = Counter(normalize_answer(answer) for answer in answers[:k] if answer is not None)
    # most_common() keeps the order of first appearance among equals.
    return float(exact_match(votes.most_common(1)[0][0], accepted)) if votes else 0.0


def pass_at_k(right: int, drawn: int, k: int) -> float:
    """Return the probability that at least one of k samples is right.

    The unbiased estimator 1 - C(n - c, k) / C(n, k) of Chen et al. (2021, arXiv 2107.03374).

    Args:
        right: c, the samples that are right.
        drawn: n, all samples.
        k: Tries, 1 to `drawn`.
    """
    return 1.0 - comb(drawn - right, k) / comb(drawn, k)
