"""The formulas of PPO, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lmcot_cli.errors import UsageError
from lmcot_train.ppo.advantages import generalized_advantages, leave_one_out, token_rewards
from lmcot_train.ppo.kl import adapted_coefficient
from lmcot_train.ppo.losses import clipped_policy_loss, clipped_value_loss, outside_clip
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.ppo.statistics import explained_variance, masked_std, whiten
from lmcot_train.rollouts.token_math import chosen_logprobs, entropies, k1, k3, masked_mean

MASK = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])


def test_statistics_look_at_real_tokens_only() -> None:
    # Real: 1 2 3, 4 5, 9. Mean 24 / 6 = 4; squares of what is left 9 4 1 0 1 25 = 40, so the variance is 40 / 6.
    values = torch.tensor([[1.0, 2, 3], [4, 5, 700], [9, math.nan, math.inf]])
    assert masked_mean(values, MASK).item() == pytest.approx(4)
    assert masked_std(values, MASK).item() == pytest.approx(math.sqrt(40 / 6))
    assert masked_mean(values, torch.zeros_like(MASK)).item() == 0


def test_whitening_gives_mean_0_and_spread_1_and_leaves_padding_at_0() -> None:
    # As above: (value - 4) / sqrt(40 / 6).
    values = torch.tensor([[1.0, 2, 3], [4, 5, 700], [9, 800, 900]])
    scale = math.sqrt(40 / 6)
    expected = torch.tensor([[-3.0, -2, -1], [0, 1, 0], [5, 0, 0]]) / scale
    torch.testing.assert_close(whiten(values, MASK, floor=0.0), expected)


def test_whitening_does_not_blow_up_a_spread_below_its_floor() -> None:
    # Mean 0, spread 0.01: divided by the floor 0.1 it stays small, where plain whitening makes it 1.
    values, mask = torch.tensor([0.01, -0.01]), torch.tensor([True, True])
    torch.testing.assert_close(whiten(values, mask, floor=0.1), torch.tensor([0.1, -0.1]))
    torch.testing.assert_close(whiten(values, mask, floor=0.0), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(whiten(torch.ones(2), mask, floor=0.0), torch.zeros(2))


def test_explained_variance() -> None:
    # Actual 0 2 4 (variance 8/3). Predicted 1 2 3: errors -1 0 1 (variance 2/3), so 1 - 1/4.
    mask = torch.tensor([True, True, True, False])
    actual, predicted = torch.tensor([0.0, 2, 4, 99]), torch.tensor([1.0, 2, 3, -99])
    assert explained_variance(predicted, actual, mask) == pytest.approx(0.75)
    assert explained_variance(torch.full((4,), 7.0), actual, mask) == pytest.approx(0)
    assert explained_variance(predicted, torch.ones(4), mask) == 0


def test_kl_estimators() -> None:
    # p = 1/2, q = 1/4: r = 1/2. k1 = ln 2, k3 = (1/2 - 1) + ln 2.
    p, q = torch.tensor([0.5]).log(), torch.tensor([0.25]).log()
    assert k1(p, q).item() == pytest.approx(math.log(2))
    assert k3(p, q).item() == pytest.approx(math.log(2) - 0.5)


def test_kl_estimators_average_to_the_divergence() -> None:
    # p = (1/2, 1/2), q = (1/4, 3/4): KL(p || q) = 1/2 ln 2 + 1/2 ln 2/3 = ln(4/3) / 2.
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    expected = math.log(4 / 3) / 2
    for estimator in (k1, k3):
        assert (p * estimator(p.log(), q.log())).sum().item() == pytest.approx(expected)
    assert (k3(p.log(), q.log()) >= 0).all()


@pytest.mark.parametrize(
    ("divergence", "factor"),
    [
        (6.0, 1.0),
        (6.6, 1.01),  # e = 0.1
        (60.0, 1.02),  # e is cut at 0.2
        (0.0, 0.98),
        (-3.0, 0.98),  # k1 may be below 0
    ],
)
def test_the_coefficient_follows_the_divergence(divergence: float, factor: float) -> None:
    after = adapted_coefficient(0.5, divergence, PPOOptions(kl_target=6.0, kl_gain=0.1))
    assert after == pytest.approx(0.5 * factor)
    assert adapted_coefficient(0.5, divergence, PPOOptions(kl_target=6.0, kl_gain=0.0)) == 0.5


def test_the_reward_stands_at_the_last_token_and_the_penalty_at_each() -> None:
    divergence = torch.tensor([[1.0, 2, 3], [4, 5, 0], [6, 0, 0]])
    found = token_rewards(torch.tensor([10.0, 20, 30]), divergence, MASK, coefficient=0.1)
    expected = torch.tensor([[-0.1, -0.2, 9.7], [-0.4, 19.5, 0], [29.4, 0, 0]])
    torch.testing.assert_close(found, expected)


def test_generalized_advantages() -> None:
    # discount 1/2, trace 1/2, so that what follows counts 1/4.
    # Row 1: rewards 0 0 8, values 4 2 4. delta_2 = 8 - 4 = 4; delta_1 = 0 + 4/2 - 2 = 0; delta_0 = 0 + 2/2 - 4 = -3.
    #        A_2 = 4; A_1 = 0 + 4/4 = 1; A_0 = -3 + 1/4 = -2.75.
    # Row 2: rewards 1 2, values 2 4, then padding (value 100 there is not looked at).
    #        delta_1 = 2 - 4 = -2; delta_0 = 1 + 4/2 - 2 = 1. A_1 = -2; A_0 = 1 - 2/4 = 0.5.
    # Row 3: reward 5, value 1: A_0 = 4.
    rewards = torch.tensor([[0.0, 0, 8], [1, 2, 0], [5, 0, 0]])
    values = torch.tensor([[4.0, 2, 4], [2, 4, 100], [1, 100, 100]])
    advantages, returns = generalized_advantages(rewards, values, MASK, discount=0.5, trace=0.5)
    expected = torch.tensor([[-2.75, 1, 4], [0.5, -2, 0], [4, 0, 0]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, torch.tensor([[1.25, 3, 8], [2.5, 2, 0], [5, 0, 0]]))


def test_with_trace_1_the_returns_are_the_discounted_rewards_to_come() -> None:
    rewards = torch.tensor([[1.0, 2, 4]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    _, returns = generalized_advantages(rewards, torch.randn(1, 3), mask, discount=0.5, trace=1.0)
    torch.testing.assert_close(returns, torch.tensor([[1 + 1 + 1.0, 2 + 2, 4]]))


def test_the_policy_loss_is_clipped_in_the_direction_of_the_advantage_only() -> None:
    # Ratios 2, 1/2, 1 against clip 0.2. A = +1: min(2, 1.2) = 1.2; min(.5, .8) = .5; 1.
    #                                    A = -1: min(-2, -1.2) = -2; min(-.5, -.8) = -.8; -1.
    logprobs = torch.tensor([2.0, 0.5, 1.0]).log()
    old = torch.zeros(3)
    gain = clipped_policy_loss(logprobs, old, torch.ones(3), clip=0.2)
    loss = clipped_policy_loss(logprobs, old, -torch.ones(3), clip=0.2)
    torch.testing.assert_close(gain, torch.tensor([-1.2, -0.5, -1.0]))
    torch.testing.assert_close(loss, torch.tensor([2.0, 0.8, 1.0]))
    torch.testing.assert_close(outside_clip(logprobs, old, 0.2), torch.tensor([1.0, 1.0, 0.0]))


def test_a_clipped_token_gives_no_gradient() -> None:
    logprobs = torch.tensor([2.0, 1.1]).log().requires_grad_()
    clipped_policy_loss(logprobs, torch.zeros(2), torch.ones(2), clip=0.2).sum().backward()
    assert logprobs.grad is not None
    # d(-ratio * A) / d log p = -ratio * A
    torch.testing.assert_close(logprobs.grad, torch.tensor([0.0, -1.1]))


def test_the_value_loss_takes_the_worse_of_the_free_and_the_clipped_estimate() -> None:
    # old 0, clip 0.5. V = 2, R = 3: free (2-3)^2 = 1, clipped to 0.5: (0.5-3)^2 = 6.25; half of that is 3.125.
    #                  V = 2, R = 0: free 4, clipped 0.25; half of 4 is 2.   V = 0.2, R = 1.2: both 1, so 0.5.
    values, returns = torch.tensor([2.0, 2.0, 0.2]), torch.tensor([3.0, 0.0, 1.2])
    found = clipped_value_loss(values, torch.zeros(3), returns, clip=0.5)
    torch.testing.assert_close(found, torch.tensor([3.125, 2.0, 0.5]))


def test_entropy_and_logprobs_of_a_distribution() -> None:
    # (1/2, 1/4, 1/4): entropy 1/2 ln 2 + 2 * 1/4 ln 4 = 1.5 ln 2. Logits may carry any constant.
    logits = torch.tensor([[0.5, 0.25, 0.25], [1.0, 1.0, 1.0]]).log() + 7
    expected = torch.tensor([1.5 * math.log(2), math.log(3)])
    torch.testing.assert_close(entropies(logits), expected)
    found = chosen_logprobs(logits, torch.tensor([0, 2]))
    torch.testing.assert_close(found, torch.tensor([0.5, 1 / 3]).log())


def test_rewards_are_counted_from_the_other_samples_of_the_question() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.5], [0.2, 0.2, 0.2]])
    # Of 1, 0 and 0.5: 1 less the mean of 0 and 0.5; 0 less that of 1 and 0.5; 0.5 less that of 1 and 0.
    expected = torch.tensor([[0.75, -0.75, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(leave_one_out(rewards), expected)


def test_a_reward_cannot_be_counted_from_no_other_sample() -> None:
    with pytest.raises(UsageError, match="--samples 1: give 2 or more with --leave-one-out"):
        PPOOptions(samples=1, leave_one_out=True).check()
