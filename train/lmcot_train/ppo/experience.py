"""What an update learns from: scored rationales with their advantages and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lmcot_train.ppo.advantages import generalized_advantages, token_rewards
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.ppo.statistics import explained_variance, whiten
from lmcot_train.rollouts.batch import RolloutGroup
from lmcot_train.rollouts.scored import ScoredRollouts, stack, token_figures
from lmcot_train.rollouts.token_math import k1


@dataclass(frozen=True, slots=True)
class Experience:
    """A batch to learn from; tensors are [groups, samples, tokens], on the CPU.

    Attributes:
        groups: Prompts and completions.
        mask: True at real tokens.
        logprobs: Log-probabilities under the policy that sampled.
        values: Its estimates of the reward still to come.
        advantages: Whitened advantages.
        returns: Targets of the value head.
        figures: Figures for the log.
    """

    groups: tuple[RolloutGroup, ...]
    mask: Tensor
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    figures: dict[str, float]


def build(
    scored: Sequence[ScoredRollouts], rewards: Tensor, coefficient: float, options: PPOOptions
) -> Experience:
    """Turn scored groups and their rewards [groups, samples] into advantages and returns."""
    names = ("mask", "logprobs", "values", "reference")
    mask, logprobs, values, reference = (stack(scored, name) for name in names)
    per_token = token_rewards(rewards, k1(logprobs, reference), mask, coefficient)
    advantages, returns = generalized_advantages(per_token, values, mask, options.discount, options.trace)
    figures = {
        **token_figures(scored),
        "explained_variance": explained_variance(values, returns, mask),
        "advantage_spread": float(advantages[mask].std(correction=0)),
    }
    whitened = whiten(advantages, mask, options.advantage_floor)
    groups = tuple(one.group for one in scored)
    return Experience(groups, mask, logprobs, values, whitened, returns, figures)
