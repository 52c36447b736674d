"""Statistics over the real tokens of padded tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from lmcot_train.rollouts.token_math import masked_mean


def masked_std(values: Tensor, mask: Tensor) -> Tensor:
    """Return the standard deviation (of the population) of `values` where `mask` is true."""
    return masked_mean((values - masked_mean(values, mask)) ** 2, mask).sqrt()


def whiten(values: Tensor, mask: Tensor, floor: float) -> Tensor:
    """Shift to mean 0 and scale to standard deviation 1 where `mask` is true; 0 elsewhere.

    Values with a spread below `floor` are divided by `floor`. Plain whitening (a floor of 0) scales any noise up to 1:
    a reward that cannot tell rationales apart would push the policy as hard as one that can.
    """
    centred = values - masked_mean(values, mask)
    scale = masked_std(values, mask).clamp(min=max(floor, 1e-8))
    return torch.where(mask, centred / scale, 0.0)


def explained_variance(predicted: Tensor, actual: Tensor, mask: Tensor) -> float:
    """Return 1 - Var(actual - predicted) / Var(actual): 1 is perfect, 0 no better than the mean.

    0 too where `actual` does not vary: there is nothing to explain.
    """
    variance = masked_std(actual, mask) ** 2
    if variance < 1e-12:
        return 0.0
    return float(1 - masked_std(actual - predicted, mask) ** 2 / variance)
