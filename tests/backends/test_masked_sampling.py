"""Sampling where masks forbid tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from lmcot_cli.backends.base import Sampling
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.sampling import Sampler, SamplerDraws


class OnlyThese(Mask):
    """Allows a few tokens, and counts how often it is asked for all of them."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = np.array(tokens, np.intp)
        self.asked = 0

    def allows(self, token: int) -> bool:
        return token in self.tokens

    def allowed(self) -> npt.NDArray[np.intp]:
        self.asked += 1
        return self.tokens

    def accept(self, token: int) -> bool:
        raise NotImplementedError

    @property
    def text(self) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("threads", [1, 3])
def test_a_mask_leaves_the_other_rows_as_they_are(threads: int) -> None:
    logits = np.random.default_rng(1).normal(size=(12, 100_000)).astype(np.float32) * 3
    sampling = Sampling(1.0, 0.9)
    plain = [SamplerDraws(sampling, seed) for seed in range(12)]
    mixed = [SamplerDraws(sampling, seed, OnlyThese([5, 6]) if seed % 3 == 0 else None) for seed in range(12)]
    sampler = Sampler(100_000, threads)
    tokens, logprobs = sampler.choose(logits, plain)
    others, other_logprobs = sampler.choose(logits, mixed)
    sampler.close()
    for row in range(12):
        if row % 3:
            assert (tokens[row], logprobs[row]) == (others[row], other_logprobs[row])
        else:
            assert others[row] in (5, 6)


def test_a_masked_token_is_drawn_by_its_share_of_what_is_allowed_and_has_its_own_logprob() -> None:
    logits = np.log(np.array([0.5, 0.2, 0.1, 0.2], np.float32))
    draws = [SamplerDraws(Sampling(1.0), seed, OnlyThese([1, 2])) for seed in range(4000)]
    tokens, logprobs = Sampler(4, 1).choose(np.tile(logits, (4000, 1)), draws)
    assert set(tokens) == {1, 2}
    assert np.mean(np.array(tokens) == 1) == pytest.approx(2 / 3, abs=0.03)
    assert logprobs == pytest.approx(logits[tokens].tolist(), abs=1e-6)


def test_temperature_and_nucleus_hold_among_the_allowed_tokens() -> None:
    logits = np.log(np.array([0.9, 0.06, 0.03, 0.01], np.float32))
    draws = [SamplerDraws(Sampling(0.5, 0.9), seed, OnlyThese([1, 2, 3])) for seed in range(4000)]
    tokens, _ = Sampler(4, 1).choose(np.tile(logits, (4000, 1)), draws)
    assert set(tokens) == {1, 2}  # squared, they weigh 36 : 9 : 1; the first two are 45 of 46
    assert np.mean(np.array(tokens) == 1) == pytest.approx(0.8, abs=0.03)


def test_a_greedy_mask_takes_the_likeliest_allowed_token_and_is_asked_only_where_it_must() -> None:
    logits = np.array([[3.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.0, 3.0]], np.float32)
    masks = [OnlyThese([0, 1]), OnlyThese([0, 1])]
    tokens, _ = Sampler(4, 1).choose(logits, [SamplerDraws(Sampling(), 0, mask) for mask in masks])
    assert tokens == [0, 1]
    assert [mask.asked for mask in masks] == [0, 1]


def test_where_nothing_is_allowed_the_token_stays_and_the_mask_will_end_the_reply() -> None:
    tokens, _ = Sampler(4, 1).choose(
        np.eye(4, dtype=np.float32)[2:3], [SamplerDraws(Sampling(), 0, OnlyThese([]))]
    )
    assert tokens == [2]
