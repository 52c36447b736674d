"""Sample completions of prompts, several each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lmcot_train.rollouts.batch import Group, passes
from lmcot_train.rollouts.network import Decoding
from lmcot_train.rollouts.policy import Policy

_TAIL = 16
"""Tokens at the end of a completion that a stop string is looked for in; ours are a word or two."""


class CompletionText(Protocol):
    """What a completion says."""

    @property
    def rationale(self) -> str:
        """The text, without what ended it."""
        ...

    @property
    def finished(self) -> bool:
        """Whether there was an end token or a stop string."""
        ...


class CompletionReader(Protocol):
    """How completions are read: `lmcot_train.prompting.RationalePrompts`, or a test's own."""

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end a completion."""
        ...

    def read(self, ids: Sequence[int], /) -> CompletionText:
        """Turn what was written into text."""
        ...


@dataclass(frozen=True, slots=True)
class Draw:
    """One prompt to complete, and the seed of each completion, on which alone its draw depends."""

    prompt: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RolloutSampling:
    """How completions are written.

    Attributes:
        reader: Says when a completion has ended.
        max_tokens: Tokens a completion may take, the end token counted.
        budget: Tokens in one pass, about.
        greedy: Take the likeliest token instead of drawing.
    """

    reader: CompletionReader
    max_tokens: int
    budget: int
    greedy: bool = False


@torch.no_grad()
def sample(policy: Policy, draws: Sequence[Draw], writing: RolloutSampling) -> list[Group]:
    """Write the completions of all draws, each of which has equally many seeds."""

    def cost(draw: Draw) -> int:
        return len(draw.prompt) + len(draw.seeds) * writing.max_tokens

    groups: dict[int, Group] = {}
    for indices in passes(draws, cost, writing.budget):
        groups.update(zip(indices, _sample_pass(policy, [draws[i] for i in indices], writing), strict=True))
    return [groups[index] for index in range(len(draws))]


def _sample_pass(policy: Policy, draws: list[Draw], writing: RolloutSampling) -> list[Group]:
    noise = _noise(draws, writing.max_tokens).to(policy.network.device)
    written: list[list[list[int]]] = [[[] for _ in draw.seeds] for draw in draws]
    ended = torch.zeros(len(draws), len(draws[0].seeds), dtype=torch.bool)
    alive = list(range(len(draws)))
    with policy.precision():
        decoding = policy.network.decode([d.prompt for d in draws], ended.shape[1], writing.max_tokens)
        for step in range(writing.max_tokens):
            tokens = _next_tokens(policy, decoding, None if writing.greedy else noise[alive, :, step])
            _append(written, ended, alive, tokens.tolist(), writing.reader)
            alive = _drop_ended(decoding, ended, alive, tokens) if step + 1 < writing.max_tokens else []
            if not alive:
                break
    return [Group(draw.prompt, tuple(map(tuple, rows))) for draw, rows in zip(draws, written, strict=True)]


def _noise(draws: list[Draw], tokens: int) -> Tensor:
    """Return uniform numbers [draws, samples, tokens], those of a completion from its seed alone."""
    rows = [
        torch.rand(tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for draw in draws
        for seed in draw.seeds
    ]
    return torch.stack(rows).view(len(draws), -1, tokens)


def _next_tokens(policy: Policy, decoding: Decoding, noise: Tensor | None) -> Tensor:
    logits = policy.network.logits(decoding.hidden).float()
    if noise is None:
        return logits.argmax(-1)
    return draw_tokens(logits / policy.temperature, noise)


def draw_tokens(logits: Tensor, noise: Tensor) -> Tensor:
    """Draw tokens by inverting the cumulative distribution: logits [..., vocabulary], noise in [0, 1) [...]."""
    cumulative = logits.double().softmax(-1).cumsum(-1)
    return torch.searchsorted(cumulative, (noise[..., None] * cumulative[..., -1:]), right=True).squeeze(-1)


def _append(
    written: list[list[list[int]]],
    ended: Tensor,
    alive: list[int],
    tokens: list[list[int]],
    reader: CompletionReader,
) -> None:
    for group, row in zip(alive, tokens, strict=True):
        for sample_index, token in enumerate(row):
            if not ended[group, sample_index]:
                completion = written[group][sample_index]
                completion.append(token)
                ended[group, sample_index] = _ends(completion, reader)


def _drop_ended(decoding: Decoding, ended: Tensor, alive: list[int], tokens: Tensor) -> list[int]:
    """Read the tokens just drawn; leave out groups whose completions have all ended, when they are many."""
    going = [position for position, group in enumerate(alive) if not ended[group].all()]
    if not going:
        return []
    if len(going) <= 0.75 * len(alive):
        kept = torch.tensor(going, device=tokens.device)
        decoding.keep(kept)
        alive, tokens = [alive[position] for position in going], tokens[kept]
    decoding.step(tokens)
    return alive


def _ends(completion: list[int], reader: CompletionReader) -> bool:
    """Tell whether the last token ended the completion."""
    return completion[-1] in reader.end_ids or reader.read(completion[-_TAIL:]).finished
