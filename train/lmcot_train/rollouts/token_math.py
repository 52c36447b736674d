"""Pure functions of tensors of tokens: log-probabilities, entropies, divergences, means over real tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def chosen_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the log-probability of each token: logits [..., vocabulary], tokens [...] -> [...]."""
    chosen = logits.gather(-1, tokens[..., None]).squeeze(-1)
    return chosen - logits.logsumexp(-1)


def entropies(logits: Tensor) -> Tensor:
    """Return the entropy of each distribution in nats: logits [..., vocabulary] -> [...]."""
    logprobs = logits.log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `values` where `mask` is true (both of one shape); 0 where nothing is."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


# Estimators of KL(p || q), x drawn from the policy p, with log r = log q(x) - log p(x) for the reference q. Their names
# are those of Schulman, "Approximating KL divergence" (2020).


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return -log r per token: unbiased, negative for some tokens, of high variance; any shape."""
    return logprobs - reference


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return (r - 1) - log r per token: unbiased, never negative, of lower variance; any shape."""
    log_ratio = reference - logprobs
    return torch.expm1(log_ratio) - log_ratio
