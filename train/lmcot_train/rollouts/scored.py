"""Completions with what the policy and its reference think of each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lmcot_train.rollouts.batch import RolloutGroup, collate, passes
from lmcot_train.rollouts.policy import Policy
from lmcot_train.rollouts.token_math import k1, k3, masked_mean


@dataclass(frozen=True, slots=True)
class ScoredRollouts:
    """A group with what the sampling policy and the reference think of its tokens, each [samples, tokens].

    `fluency` is the reference's log-probability at temperature 1, whatever the temperature of the sampling.
    """

    group: RolloutGroup
    mask: Tensor
    logprobs: Tensor
    values: Tensor
    entropies: Tensor
    reference: Tensor
    fluency: Tensor

    def reference_means(self) -> list[float]:
        """Return each completion's mean log-probability per token under the reference, at temperature 1."""
        return [float(masked_mean(*pair)) for pair in zip(self.fluency, self.mask, strict=True)]


@torch.no_grad()
def score(policy: Policy, groups: Sequence[RolloutGroup], budget: int) -> list[ScoredRollouts]:
    """Score groups with the policy and with the reference, in passes of about `budget` tokens."""
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


def token_figures(scored: Sequence[ScoredRollouts]) -> dict[str, float]:
    """Return the KL to the reference (nats per rationale, by both estimators), the entropy and the length."""
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
    """Stack one tensor of each group, padded with zeros on the right [groups, samples, tokens]."""
    tensors = [getattr(one, name) for one in scored]
    longest = max(tensor.shape[-1] for tensor in tensors)
    return torch.stack([F.pad(tensor, (0, longest - tensor.shape[-1])) for tensor in tensors])
