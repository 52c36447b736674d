"""The losses of PPO per token (Schulman et al. 2017, arXiv 1707.06347)."""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return -min(ratio * A, clip(ratio, 1 - clip, 1 + clip) * A) per token (eq. 7); all of one shape.

    Args:
        logprobs: Log-probabilities under the policy that learns.
        old: Log-probabilities under the policy that sampled.
        advantages: How much better each token was than expected.
        clip: Epsilon; beyond it a token gives no gradient in the direction of its advantage.
    """
    ratio = (logprobs - old).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def clipped_value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Return max((V - R)^2, (clip(V, old - clip, old + clip) - R)^2) / 2 per token; all of one shape."""
    near = torch.clamp(values, old - clip, old + clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2)


def outside_clip(logprobs: Tensor, old: Tensor, clip: float) -> Tensor:
    """Return 1 per token whose ratio is outside [1 - clip, 1 + clip], else 0; its mean is the clip fraction."""
    return (((logprobs - old).exp() - 1).abs() > clip).float()
