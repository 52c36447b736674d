from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lmcot_cli.backends.base import Sampling
from lmcot_cli.backends.llama.sampling import log_normaliser, new_sampler, nucleus

WEIGHTS = hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(0.015625, 1.0, width=32))


@given(weights=WEIGHTS, top_p=st.floats(0.0, 0.999))
def test_the_nucleus_is_the_fewest_tokens_that_have_the_mass(weights: np.ndarray, top_p: float) -> None:
    kept = nucleus(weights, top_p).tolist()
    ranked = sorted(range(len(weights)), key=lambda token: -weights[token])
    total = float(weights.sum(dtype=np.float64))
    masses = np.cumsum(weights[ranked], dtype=np.float64) / total
    count = len(kept)
    assert kept == sorted(ranked[:count])
    assert masses[count - 1] >= top_p - 1e-9
    assert count == 1 or masses[count - 2] < top_p + 1e-9


def test_all_tokens_are_kept_at_one() -> None:
    assert nucleus(np.array([1, 0, 1e-30], np.float32), 1.0).tolist() == [0, 1, 2]


def test_draws_follow_the_softmax_after_temperature_and_top_p() -> None:
    # Chi-square: its mean is the degrees of freedom, its variance twice that.
    logits = np.random.default_rng(0).standard_normal(200).astype(np.float32) * 2
    sampling = Sampling(temperature=0.7, top_p=0.8)
    chances = np.exp(logits.astype(np.float64) / 0.7)
    chances /= chances.sum()
    ranked = np.argsort(-chances)
    kept = ranked[: int(np.searchsorted(np.cumsum(chances[ranked]), 0.8)) + 1]
    draws = [new_sampler(sampling, seed).sample(logits) for seed in range(5000)]
    counts = np.bincount(draws, minlength=200)
    expected = 5000 * chances[kept] / chances[kept].sum()
    assert counts.sum() == counts[kept].sum()
    freedom = len(kept) - 1
    assert freedom > 5
    assert abs(((counts[kept] - expected) ** 2 / expected).sum() - freedom) < 5 * math.sqrt(2 * freedom)


def test_one_samplers_draws_follow_one_another() -> None:
    logits = np.zeros(1000, np.float32)
    first, again = (new_sampler(Sampling(temperature=1.0), 3) for _ in range(2))
    draws = [first.sample(logits) for _ in range(10)]
    assert draws == [again.sample(logits) for _ in range(10)]
    assert len(set(draws)) > 5


def test_greedy_takes_the_first_of_the_highest() -> None:
    assert new_sampler(Sampling(), 0).sample(np.array([1, 3, 2, 3], np.float32)) == 1


def test_a_tiny_temperature_is_greedy_and_overflows_nothing() -> None:
    logits = np.array([-1000, 1000, 999, -np.inf], np.float32)
    assert new_sampler(Sampling(temperature=1e-3), 0).sample(logits) == 1


def test_log_normaliser_is_stable_for_large_logits() -> None:
    rows = np.array([[0, math.log(3)], [1000, 1000]], np.float32)
    assert log_normaliser(rows).tolist() == pytest.approx([math.log(4), 1000 + math.log(2)])
