"""Prompts with the completions sampled from them, and the padded tensors the network reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Side: TypeAlias = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt and its completions, as token ids; a completion ends with the end-of-text token if it has one."""

    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]

    @property
    def length(self) -> int:
        """Tokens of the longest completion."""
        return max(map(len, self.completions))

    @property
    def cost(self) -> int:
        """Tokens that a pass over the group takes, padding among its completions included."""
        return len(self.prompt) + len(self.completions) * self.length


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """Groups as tensors.

    Attributes:
        prompts: Token ids, padded on the side the network wants [groups, prompt tokens].
        prompt_mask: True at real prompt tokens [groups, prompt tokens].
        completions: Token ids, padded on the right [groups, samples, tokens].
        mask: True at real completion tokens [groups, samples, tokens].
    """

    prompts: Tensor
    prompt_mask: Tensor
    completions: Tensor
    mask: Tensor


def collate(groups: Sequence[Group], side: Side, device: torch.device) -> RolloutBatch:
    """Pad groups of equally many completions to one shape.

    Args:
        groups: What to stack.
        side: Where prompts are padded; completions always are on the right.
        device: Where the tensors are to be.
    """
    prompts, prompt_mask = pad([group.prompt for group in groups], side, device)
    flat, flat_mask = pad([one for group in groups for one in group.completions], "right", device)
    shape = (len(groups), -1, flat.shape[-1])
    return RolloutBatch(prompts, prompt_mask, flat.view(shape), flat_mask.view(shape))


def pad(rows: Sequence[Sequence[int]], side: Side, device: torch.device) -> tuple[Tensor, Tensor]:
    """Stack rows of token ids; return them, with 0 for padding, and the mask of real ones, each [rows, tokens]."""
    longest = max(map(len, rows))
    blanks = [[0] * (longest - len(row)) for row in rows]
    pairs = list(zip(rows, blanks, strict=True))
    tokens = torch.tensor([[*blank, *row] if side == "left" else [*row, *blank] for row, blank in pairs])
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    columns = torch.arange(longest)
    mask = columns >= longest - lengths if side == "left" else columns < lengths
    return tokens.to(device), mask.to(device)


def passes(items: Sequence[T], cost: Callable[[T], int], budget: int) -> Iterator[list[int]]:
    """Divide items into passes of like size, so that padding is little and no pass costs more than `budget`.

    Args:
        items: What to divide.
        cost: Tokens of an item, its padded size.
        budget: Most tokens a pass; an item that is larger than that goes alone.

    Yields:
        Indices of the items of one pass, the largest items first.
    """
    order = sorted(range(len(items)), key=lambda index: -cost(items[index]))
    start = 0
    while start < len(order):
        size = max(1, budget // cost(items[order[start]]))
        yield order[start : start + size]
        start += size
