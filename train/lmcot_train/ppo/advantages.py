"""Rewards per token and generalised advantage estimation."""

from __future__ import annotations

import torch
from torch import Tensor


def token_rewards(rewards: Tensor, divergence: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """Return -coefficient * KL at each token, plus the rationale's reward at its last one [..., tokens].

    Args:
        rewards: Rewards of whole rationales [...].
        divergence: KL estimate per token [..., tokens].
        mask: True at real tokens, which come first [..., tokens].
        coefficient: Weight of the KL penalty.
    """
    last = mask & (mask.cumsum(-1) == mask.sum(-1, keepdim=True))
    return torch.where(mask, -coefficient * divergence, 0.0) + torch.where(last, rewards[..., None], 0.0)


def leave_one_out(rewards: Tensor) -> Tensor:
    """Subtract from each rationale's reward the mean reward of the others of its question, [..., samples] -> same.

    The others tell how hard the question is, which a value head learns slowly; since they do not depend on the
    rationale itself, the policy gradient stays unbiased (Kool et al. 2019; Ahmadian et al. 2024, arXiv 2402.14740,
    section 2.2).
    """
    samples = rewards.shape[-1]
    return (rewards - rewards.mean(-1, keepdim=True)) * samples / (samples - 1)


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, discount: float, trace: float
) -> tuple[Tensor, Tensor]:
    """Estimate advantages (GAE; Schulman et al. 2016, arXiv 1506.02438, eq. 16) and returns.

    delta_t = r_t + discount * V_(t+1) - V_t, A_t = delta_t + discount * trace * A_(t+1), and 0 after the last real
    token. The returns, which the value head learns to predict, are A + V.

    Args:
        rewards: r_t, 0 at padding [..., tokens].
        values: V_t, the estimate before token t is written [..., tokens].
        mask: True at real tokens, which come first [..., tokens].
        discount: Gamma.
        trace: Lambda; 1 trusts the rewards alone, 0 the values.

    Returns:
        Advantages and returns, 0 at padding, each [..., tokens].
    """
    values = torch.where(mask, values, 0.0)
    following = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], -1)
    deltas = torch.where(mask, rewards + discount * following - values, 0.0)
    advantages = torch.zeros_like(deltas)
    running = torch.zeros_like(deltas[..., 0])
    for t in reversed(range(deltas.shape[-1])):
        running = deltas[..., t] + discount * trace * running
        advantages[..., t] = running
    return advantages, advantages + values
