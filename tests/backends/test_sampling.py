from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lmcot_cli.backends.base import Sampling
from lmcot_cli.backends.sampling import GROUP, Sampler, SamplerDraws, mass_before
from lmcot_cli.errors import ModelError

WEIGHTS = hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(0.015625, 1.0, width=32))


def choose(logits: np.ndarray, sampling: Sampling, seeds: list[int], threads: int = 1) -> list[int]:
    """Choose one token a seed from the same logits."""
    sampler = Sampler(len(logits), threads)
    tokens, _ = sampler.choose(
        np.tile(logits, (len(seeds), 1)), [SamplerDraws(sampling, seed) for seed in seeds]
    )
    sampler.close()
    return tokens


def nucleus(chances: np.ndarray, top_p: float) -> np.ndarray:
    """The plain definition, by sorting."""
    ranked = np.argsort(-chances, kind="stable")
    masses = np.cumsum(chances[ranked])
    return ranked[: min(int(np.searchsorted(masses, top_p * masses[-1])) + 1, len(ranked))]


@given(weights=WEIGHTS, data=st.data())
def test_mass_before_is_that_of_the_tokens_ranked_higher(weights: np.ndarray, data: st.DataObject) -> None:
    token = data.draw(st.integers(0, len(weights) - 1))
    ranked = np.argsort(-weights, kind="stable").tolist()
    before = weights[ranked[: ranked.index(token)]].sum(dtype=np.float64)
    assert mass_before(weights, token) == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("top_p", [0.05, 0.4, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0])
def test_draws_follow_the_softmax_after_temperature_and_top_p(
    temperature: float, top_p: float, spread: float
) -> None:
    # Chi-square: its mean is the degrees of freedom, its variance twice that.
    logits = (np.random.default_rng(0).standard_normal(2 * GROUP + 17) * spread).astype(np.float32)
    chances = np.exp(logits.astype(np.float64) / temperature)
    chances /= chances.sum()
    kept = nucleus(chances, top_p)
    draws = choose(logits, Sampling(temperature, top_p), list(range(5000)))
    counts = np.bincount(draws, minlength=len(logits))
    assert counts.sum() == counts[kept].sum()
    expected = 5000 * chances[kept] / chances[kept].sum()
    common = expected >= 5  # the rare ones make one class, which is left out of the sum
    freedom = int(common.sum())
    chi_square = ((counts[kept] - expected)[common] ** 2 / expected[common]).sum()
    assert abs(chi_square - freedom) <= 5 * math.sqrt(2 * freedom)


def test_the_nucleus_of_no_mass_is_the_likeliest_token() -> None:
    logits = np.random.default_rng(1).standard_normal(300).astype(np.float32)
    assert set(choose(logits, Sampling(1.0, 0.0), list(range(50)))) == {int(logits.argmax())}


def test_one_completions_draws_follow_one_another() -> None:
    logits = np.zeros((1, 1000), np.float32)
    sampler = Sampler(1000, 1)
    first, again = (SamplerDraws(Sampling(temperature=1.0), 3) for _ in range(2))
    tokens = [sampler.choose(logits, [first])[0] for _ in range(10)]
    assert tokens == [sampler.choose(logits, [again])[0] for _ in range(10)]
    assert len({token for (token,) in tokens}) > 5


def test_greedy_takes_the_first_of_the_highest() -> None:
    assert choose(np.array([1, 3, 2, 3], np.float32), Sampling(), [0]) == [1]


def test_a_tiny_temperature_is_greedy_and_overflows_nothing() -> None:
    logits = np.array([-1000, 1000, 999, -np.inf], np.float32)
    assert choose(logits, Sampling(temperature=1e-3), [0]) == [1]


def test_what_is_sampled_otherwise_in_the_same_batch_changes_nothing() -> None:
    logits = np.random.default_rng(2).standard_normal((6, 500)).astype(np.float32) * 2
    samplings = [
        Sampling(),
        Sampling(0.5, 0.9),
        Sampling(1.0),
        Sampling(1.5, 0.3),
        Sampling(),
        Sampling(1.0, 0.5),
    ]
    together = Sampler(500, 1).choose(logits, [SamplerDraws(each, 4) for each in samplings])[0]
    alone = [
        Sampler(500, 1).choose(row[None], [SamplerDraws(each, 4)])[0][0]
        for row, each in zip(logits, samplings, strict=True)
    ]
    assert together == alone


def test_threads_choose_what_one_chooses() -> None:
    logits = np.random.default_rng(3).standard_normal((9, 70_000)).astype(np.float32)

    def draws() -> list[SamplerDraws]:
        return [SamplerDraws(Sampling(0.8, 0.95), seed) for seed in range(9)]

    one, three = Sampler(70_000, 1), Sampler(70_000, 3)
    assert three.choose(logits, draws()) == one.choose(logits, draws())
    three.close()


def test_logprobs_are_those_of_the_whole_distribution_and_stable_for_large_logits() -> None:
    rows = np.array([[0, math.log(3)], [1000, 1000]], np.float32)
    tokens, logprobs = Sampler(2, 1).choose(rows, [SamplerDraws(Sampling(), 0)] * 2)
    assert tokens == [1, 0]
    assert logprobs == pytest.approx([math.log(3 / 4), math.log(1 / 2)])


def test_logits_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(ModelError, match="not numbers"):
        choose(np.array([1, np.nan, 2], np.float32), Sampling(1.0), [0])
