"""What an update learns from: rationales, what the policy and the reference thought of them, and their advantages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lmcot_train.ppo.advantages import generalized_advantages, token_rewards
from lmcot_train.ppo.batch import Group, collate, passes
from lmcot_train.ppo.kl import k1, k3
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.ppo.policy import Policy
from lmcot_train.ppo.statistics import explained_variance, masked_mean, whiten


@dataclass(frozen=True, slots=True)
class ScoredRollouts:
    """A group with what the sampling policy and the reference thought of its tokens, each [samples, tokens].

    `fluency` is the reference's log-probability at temperature 1, whatever temperature sampled.
    """

    group: Group
    mask: Tensor
    logprobs: Tensor
    values: Tensor
    entropies: Tensor
    reference: Tensor
    fluency: Tensor

    def reference_means(self) -> list[float]:
        """Return each completion's mean log-probability per token under the reference, at temperature 1."""
        return [float(masked_mean(*pair)) for pair in zip(self.fluency, self.mask, strict=True)]


@dataclass(frozen=True, slots=True)
class Experience:
    """A batch to learn from; tensors are [groups, samples, tokens], on the CPU.

    Attributes:
        groups: Prompts and completions.
        mask: True at real tokens.
        logprobs: Under the policy that sampled.
        values: As estimated when it sampled.
        advantages: Whitened.
        returns: What the value head is to predict.
        figures: Figures for the log.
    """

    groups: tuple[Group, ...]
    mask: Tensor
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    figures: dict[str, float]


@torch.no_grad()
def score(policy: Policy, groups: Sequence[Group], budget: int) -> list[ScoredRollouts]:
    """Score groups by the policy and by the reference, in passes of about `budget` tokens."""
    scored: dict[int, ScoredRollouts] = {}
    for indices in passes(groups, lambda group: group.cost, budget):
        batch = collate([groups[i] for i in indices], policy.network.side, policy.network.device)
        own = policy(batch)
        with policy.as_reference():
            reference = policy(batch)
        tensors = (
            batch.mask,
            own.logprobs,
            own.values,
            own.entropies,
            reference.logprobs,
            reference.untempered,
        )
        for i, *rows in zip(indices, *(tensor.cpu() for tensor in tensors), strict=True):
            scored[i] = ScoredRollouts(groups[i], *rows)
    return [scored[index] for index in range(len(groups))]


def build(
    scored: Sequence[ScoredRollouts], rewards: Tensor, coefficient: float, options: PPOOptions
) -> Experience:
    """Turn scored groups and their rewards [groups, samples] into advantages and returns."""
    mask, logprobs, values, reference = (
        stack(scored, name) for name in ("mask", "logprobs", "values", "reference")
    )
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


def token_figures(scored: Sequence[ScoredRollouts]) -> dict[str, float]:
    """Return the KL to the reference (nats a rationale, by both estimators), the entropy and the length."""
    mask, logprobs, reference, entropies = (
        stack(scored, name) for name in ("mask", "logprobs", "reference", "entropies")
    )
    return {
        "kl": float(k1(logprobs, reference).sum(-1).mean()),
        "kl_k3": float(torch.where(mask, k3(logprobs, reference), 0.0).sum(-1).mean()),
        "entropy": float(masked_mean(entropies, mask)),
        "tokens": float(mask.sum(-1).float().mean()),
    }


def stack(scored: Sequence[ScoredRollouts], name: str) -> Tensor:
    """Stack one tensor of each group, filled up with zeros on the right [groups, samples, tokens]."""
    tensors = [getattr(one, name) for one in scored]
    longest = max(tensor.shape[-1] for tensor in tensors)
    return torch.stack([F.pad(tensor, (0, longest - tensor.shape[-1])) for tensor in tensors])
