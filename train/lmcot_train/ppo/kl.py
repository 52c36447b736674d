"""The coefficient that holds the divergence of the policy from its reference at a target."""

from __future__ import annotations

from lmcot_train.ppo.options import PPOOptions


def adapted_coefficient(coefficient: float, divergence: float, options: PPOOptions) -> float:
    """Return the weight of the KL penalty in the next update, adapted in log-space.

    beta' = beta (1 + K e), with e = clip((KL - target) / target, -0.2, 0.2): Ziegler et al. 2019, arXiv 1909.08593,
    section 2.2, whose K is 0.1. K = 0 keeps the weight as it is.

    Args:
        coefficient: The weight now.
        divergence: Mean KL of this update's rationales, in nats per rationale.
        options: Hold the target and the gain K.
    """
    error = min(max((divergence - options.kl_target) / options.kl_target, -0.2), 0.2)
    return coefficient * (1 + options.kl_gain * error)
