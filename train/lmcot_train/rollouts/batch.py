"""Prompts with the completions sampled from them, and the padded tensors that the network reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Side: TypeAlias = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """A prompt and its completions, as token ids; a completion ends with the end-of-text token if it has one."""

    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]

    @property
    def cost(self) -> int:
        """Tokens that a pass over the group takes, padding among its completions included."""
        return len(self.prompt) + len(self.completions) * max(map(len, self.completions))


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """Groups as tensors: token ids, and masks that are true at real tokens.

    `prompts` and `prompt_mask` are [groups, prompt tokens], padded on the side that the network wants; `completions`
    and `mask` are [groups, samples, tokens], padded on the right.
    """

    prompts: Tensor
    prompt_mask: Tensor
    completions: Tensor
    mask: Tensor


def collate(groups: Sequence[RolloutGroup], side: Side, device: torch.device) -> RolloutBatch:
    """Pad groups of equally many completions to one shape, their prompts on one side."""
    prompts, prompt_mask = pad([group.prompt for group in groups], side, device)
    flat, flat_mask = pad([one for group in groups for one in group.completions], "right", device)
    shape = (len(groups), -1, flat.shape[-1])
    return RolloutBatch(prompts, prompt_mask, flat.view(shape), flat_mask.view(shape))


def pad(rows: Sequence[Sequence[int]], side: Side, device: torch.device) -> tuple[Tensor, Tensor]:
    """Stack rows of token ids; return them, padded with 0, and the mask of real ones, each [rows, tokens]."""
    longest = max(map(len, rows))
    blanks = [[0] * (longest - len(row)) for row in rows]
    pairs = list(zip(rows, blanks, strict=True))
    tokens = torch.tensor([[*blank, *row] if side == "left" else [*row, *blank] for row, blank in pairs])
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    columns = torch.arange(longest)
    mask = columns >= longest - lengths if side == "left" else columns < lengths
    return tokens.to(device), mask.to(device)


def passes(items: Sequence[T], cost: Callable[[T], int], budget: int) -> Iterator[list[int]]:
    """Divide items into passes of similar size, so that there is little padding and none costs more than `budget`.

    Args:
        items: What to divide.
        cost: Returns the tokens of an item, padding included.
        budget: Maximum tokens per pass; an item that is larger has a pass of its own.

    Yields:
        Indices of the items of a pass, the largest items first.
    """
    order = sorted(range(len(items)), key=lambda index: -cost(items[index]))
    start = 0
    while start < len(order):
        size = max(1, budget // cost(items[order[start]]))
        yield order[start : start + size]
        start += size
