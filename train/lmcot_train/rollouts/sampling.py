"""Sample completions of prompts, several for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lmcot_train.ppo.options import PPOOptions
from lmcot_train.prompting import WrittenRationale
from lmcot_train.rollouts.batch import RolloutGroup, passes
from lmcot_train.rollouts.network import Decoding
from lmcot_train.rollouts.policy import Policy

_TAIL = 16
"""Tokens at the end of a completion in which a stop string is looked for; ours are a word or two."""


class CompletionReader(Protocol):
    """Reads completions: `lmcot_train.prompting.RationalePrompts`, or a test's own."""

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end a completion."""
        ...

    def read(self, ids: Sequence[int], /) -> WrittenRationale:
        """Turn what was written into text."""
        ...


@dataclass(frozen=True, slots=True)
class Draw:
    """A prompt to complete, and the seed of each completion, on which alone its draw depends."""

    prompt: tuple[int, ...]
    seeds: tuple[int, ...]


@torch.no_grad()
def sample(
    policy: Policy,
    draws: Sequence[Draw],
    reader: CompletionReader,
    options: PPOOptions,
    *,
    greedy: bool = False,
) -> list[RolloutGroup]:
    """Write the completions of all draws.

    Args:
        policy: Writes them.
        draws: The prompts, each with equally many seeds.
        reader: Tells when a completion has ended.
        options: Hold the maximum tokens per completion (the end token included) and per pass.
        greedy: Take the likeliest token instead of drawing.
    """
    groups: dict[int, RolloutGroup] = {}
    for indices in passes(
        draws, lambda draw: len(draw.prompt) + len(draw.seeds) * options.max_tokens, options.tokens_per_pass
    ):
        chosen = [draws[i] for i in indices]
        noise = None if greedy else _noise(chosen, options.max_tokens).to(policy.network.device)
        groups.update(
            zip(indices, _sample_pass(policy, chosen, noise, reader, options.max_tokens), strict=True)
        )
    return [groups[index] for index in range(len(draws))]


def _sample_pass(
    policy: Policy, draws: list[Draw], noise: Tensor | None, reader: CompletionReader, most: int
) -> list[RolloutGroup]:
    """Write completions of up to `most` tokens: the likeliest ones where there is no noise [draws, samples, tokens]."""
    written: list[list[list[int]]] = [[[] for _ in draw.seeds] for draw in draws]
    ended = torch.zeros(len(draws), len(draws[0].seeds), dtype=torch.bool)
    alive = list(range(len(draws)))
    with policy.precision():
        decoding = policy.network.decode([d.prompt for d in draws], ended.shape[1], most)
        for step in range(most):
            tokens = _next_tokens(policy, decoding, None if noise is None else noise[alive, :, step])
            _append(written, ended, alive, tokens.tolist(), reader)
            alive = _drop_ended(decoding, ended, alive, tokens) if step + 1 < most else []
            if not alive:
                break
    return [
        RolloutGroup(draw.prompt, tuple(map(tuple, rows))) for draw, rows in zip(draws, written, strict=True)
    ]


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
    return logits.argmax(-1) if noise is None else draw_tokens(logits / policy.temperature, noise)


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
        for i, token in enumerate(row):
            if not ended[group, i]:
                completion = written[group][i]
                completion.append(token)
                ended[group, i] = token in reader.end_ids or reader.read(completion[-_TAIL:]).finished


def _drop_ended(decoding: Decoding, ended: Tensor, alive: list[int], tokens: Tensor) -> list[int]:
    """Read the tokens just drawn; leave out groups whose completions have all ended, if there are many."""
    unfinished = [position for position, group in enumerate(alive) if not ended[group].all()]
    if not unfinished:
        return []
    if len(unfinished) <= 0.75 * len(alive):
        kept = torch.tensor(unfinished, device=tokens.device)
        decoding.keep(kept)
        alive, tokens = [alive[position] for position in unfinished], tokens[kept]
    decoding.step(tokens)
    return alive
