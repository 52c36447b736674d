"""The divergence of the policy from a reference: its estimators, and the coefficient that holds it at a target.

The names k1 and k3 are those of Schulman, "Approximating KL divergence" (2020); with x drawn from the policy p and
log r = log q(x) - log p(x) for the reference q, both estimate KL(p || q).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return -log r per token: unbiased, negative for some tokens, of high variance; any shape."""
    return logprobs - reference


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return (r - 1) - log r per token: unbiased, never negative, of lower variance; any shape."""
    log_ratio = reference - logprobs
    return torch.expm1(log_ratio) - log_ratio


@dataclass(frozen=True, slots=True)
class AdaptiveCoefficient:
    """The weight of the KL penalty, adapted in log-space (Ziegler et al. 2019, arXiv 1909.08593, section 2.2).

    Attributes:
        value: The weight now.
        target: KL to hold, in nats a rationale.
        gain: How fast it reacts; the paper's K_beta is 0.1. 0 keeps the weight as it is.
    """

    value: float
    target: float
    gain: float

    def after(self, divergence: float) -> Self:
        """Return the coefficient for the next update.

        beta' = beta (1 + K e), with e = clip((KL - target) / target, -0.2, 0.2).

        Args:
            divergence: Mean KL of this update's rationales, in nats a rationale.
        """
        error = min(max((divergence - self.target) / self.target, -0.2), 0.2)
        return type(self)(self.value * (1 + self.gain * error), self.target, self.gain)
