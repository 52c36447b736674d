"""The settings of a LoRA adapter; a module of its own, so that reading a default loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """The adapter that is trained (Hu et al. 2021, arXiv 2106.09685).

    Attributes:
        rank: Width of the two matrices that are added to each target.
        alpha: The addition is scaled by alpha / rank.
        dropout: Share of a target's inputs that are dropped while training.
        targets: Names of the layers to adapt; `all-linear` is every linear layer but the output.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = ("all-linear",)
