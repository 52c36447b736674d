"""Sampling: the right distribution, the right ends, and draws that depend on their seeds alone."""

from __future__ import annotations

import pytest
import torch

from examples.train.toy_ppo import END, NumberReader, Shape, lora_model
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.prompting import WrittenRationale
from lmcot_train.rollouts.policy import Policy
from lmcot_train.rollouts.sampling import Draw, draw_tokens, sample

READER = NumberReader()
DRAWS = [
    Draw((5, 6, 7), (1, 2, 3)),
    Draw((8, 9), (4, 5, 6)),
    Draw((10, 11, 12, 13), (7, 8, 9)),
]


def test_tokens_are_drawn_as_likely_as_they_are() -> None:
    # Probabilities 0.5, 0.25, 0.25: the cumulative distribution 0.5, 0.75, 1 divides [0, 1).
    logits = torch.tensor([0.5, 0.25, 0.25]).log()
    noise = torch.tensor([0.0, 0.49, 0.51, 0.74, 0.76, 1 - 2**-53], dtype=torch.float64)
    assert draw_tokens(logits.expand(6, 3), noise).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits = torch.tensor([float("-inf"), 0.0, float("-inf")])
    noise = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert draw_tokens(logits.expand(2, 3), noise).tolist() == [1, 1]


def test_a_draw_depends_on_its_own_seed_only(shape: Shape) -> None:
    policy = Policy(lora_model(shape))
    together = sample(policy, DRAWS, READER, PPOOptions(max_tokens=12, tokens_per_pass=10_000))
    one_by_one = sample(policy, DRAWS, READER, PPOOptions(max_tokens=12, tokens_per_pass=1))
    reordered = sample(policy, DRAWS[::-1], READER, PPOOptions(max_tokens=12, tokens_per_pass=10_000))[::-1]
    assert together == one_by_one == reordered
    other = sample(
        policy, [Draw((5, 6, 7), (1, 99, 3))], READER, PPOOptions(max_tokens=12, tokens_per_pass=10_000)
    )[0]
    assert [a == b for a, b in zip(other.completions, together[0].completions, strict=True)] == [
        True, False, True,
    ]  # fmt: skip


def test_completions_end_at_the_end_token_or_at_their_limit(shape: Shape) -> None:
    policy = Policy(lora_model(shape), temperature=3.0)
    draws = [Draw((5, 6, 7), tuple(range(40)))]
    (group,) = sample(policy, draws, READER, PPOOptions(max_tokens=20, tokens_per_pass=10_000))
    for completion in group.completions:
        assert END not in completion[:-1]
        assert completion[-1] == END or len(completion) == 20
    assert {one[-1] == END for one in group.completions} == {True, False}


def test_a_stop_string_ends_a_completion() -> None:
    class StopsAtEven(NumberReader):
        end_ids = frozenset[int]()

        def read(self, ids: object) -> WrittenRationale:
            numbers = list(ids)  # type: ignore[call-overload]
            return WrittenRationale("", any(number % 2 == 0 for number in numbers))

    policy = Policy(lora_model("causal"))
    for group in sample(policy, DRAWS, StopsAtEven(), PPOOptions(max_tokens=20, tokens_per_pass=10_000)):
        for completion in group.completions:
            assert all(token % 2 for token in completion[:-1])
            assert completion[-1] % 2 == 0 or len(completion) == 20


def test_greedy_takes_the_likeliest_token(shape: Shape) -> None:
    policy = Policy(lora_model(shape))
    (group,) = sample(
        policy, [Draw((5, 6, 7), (1,))], READER, PPOOptions(max_tokens=6, tokens_per_pass=100), greedy=True
    )
    logits = policy.network.plain_logits(group.prompt, group.completions[0])
    assert logits.argmax(-1).tolist() == list(group.completions[0])


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_samples_follow_the_tempered_distribution(temperature: float) -> None:
    policy = Policy(lora_model("causal"), temperature=temperature)
    seeds = tuple(range(4000))
    (group,) = sample(
        policy, [Draw((5, 6, 7), seeds)], READER, PPOOptions(max_tokens=1, tokens_per_pass=10_000)
    )
    counts = torch.bincount(torch.tensor([one[0] for one in group.completions]), minlength=64) / len(seeds)
    logits = policy.network.plain_logits((5, 6, 7), (0,))[0] / temperature
    assert (counts - logits.softmax(-1)).abs().max() < 0.03  # over three standard errors of a share of 1/2
