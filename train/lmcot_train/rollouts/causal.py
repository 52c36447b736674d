"""Decoder-only models: each prompt is read once for all its completions, in sampling and in learning.

A prompt and its completions are in one row, [prompt | first completion | second | ...]. Every completion starts at the
position where the prompt ends, and attends to the prompt and itself, not to the others. The results are those of
separate rows, gradients included; `Policy.fit` makes sure of it for the model at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache

from lmcot_train.rollouts.batch import RolloutBatch, pad
from lmcot_train.rollouts.network import DecoderOnly


class CausalNetwork(DecoderOnly):
    """A decoder-only transformers model whose layers are told by a mask what to attend to."""

    def hidden(self, batch: RolloutBatch) -> Tensor:
        """Run the rows; see `Network.hidden`."""
        groups, samples, tokens = batch.completions.shape
        prompt = batch.prompts.shape[1]
        positions = prompt_positions(batch.prompt_mask)
        after = positions[:, -1:, None] + 1 + torch.arange(tokens, device=positions.device)
        row = torch.cat([positions, after.expand(groups, samples, tokens).flatten(1)], 1)
        tokens_of_rows = torch.cat([batch.prompts, batch.completions.flatten(1)], 1)
        out = self._run(tokens_of_rows, row, row, packed_mask(batch))
        last = out[:, prompt - 1].view(groups, 1, 1, -1).expand(groups, samples, 1, -1)
        written = out[:, prompt:].view(groups, samples, tokens, -1)
        return torch.cat([last, written[:, :, :-1]], 2)[batch.mask]

    def decode(self, prompts: Sequence[Sequence[int]], samples: int, tokens: int) -> CausalDecoding:
        """Read the prompts; see `Network.decode`."""
        return CausalDecoding(self, *pad(prompts, self.side, self.device), samples, tokens)

    def _run(
        self, tokens: Tensor, positions: Tensor, seen: Tensor, mask: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """Run the decoder with a mask of any form; return the last hidden states [rows, tokens, width].

        Args:
            tokens: Token ids [rows, tokens].
            positions: Their positions [rows, tokens].
            seen: The positions of all that the rows hold [rows, all].
            mask: True where a token may attend to another [rows, 1, tokens, all].
            cache: What the rows hold already, if anything; what is computed is added to it.
        """
        out = self.decoder(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=self._masks(positions, seen, mask),
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return cast(Tensor, out.last_hidden_state)

    def _masks(self, positions: Tensor, seen: Tensor, mask: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the additive mask that the layers read, or one for each kind of layer, narrowed to its window.

        transformers uses a given mask as it is, so the window (Gemma 3, Phi-3, Mistral...) is applied here. It counts
        positions, not places in the row: the completions of a prompt are side by side.
        """
        config = self.model.config
        kinds = set(getattr(config, "layer_types", None) or ())
        window = getattr(config, "sliding_window", None)
        if not window or kinds == {"full_attention"}:
            return self._additive(mask)
        near = mask & (positions[:, None, :, None] - seen[:, None, None, :] < window)
        if not kinds:
            return self._additive(near)
        return {"full_attention": self._additive(mask), "sliding_attention": self._additive(near)}

    def _additive(self, mask: Tensor) -> Tensor:
        """Return 0 where a mask is true, and the lowest number elsewhere."""
        kind = self.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.model.dtype
        additive = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        return additive.masked_fill_(~mask, torch.finfo(additive.dtype).min)


def prompt_positions(mask: Tensor) -> Tensor:
    """Return the position of each prompt token, counted from the first real one; padding has 0."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


def packed_mask(batch: RolloutBatch) -> Tensor:
    """Return which token may attend to which [groups, 1, row, row]; padding attends to padding only.

    A prompt of two tokens with two completions of two (1 = may attend):

        p0  1 . . . . .
        p1  1 1 . . . .
        a0  1 1 1 . . .
        a1  1 1 1 1 . .
        b0  1 1 . . 1 .
        b1  1 1 . . 1 1
    """
    numbers = torch.arange(1, batch.mask.shape[1] + 1, device=batch.mask.device)[:, None]
    completions = torch.where(batch.mask, numbers, -1).flatten(1)
    segments = torch.cat([torch.where(batch.prompt_mask, 0, -1), completions], 1)
    columns, rows = segments[:, None, :], segments[:, :, None]
    causal = torch.ones(segments.shape[1], segments.shape[1], dtype=torch.bool, device=segments.device).tril()
    return (causal & ((columns == rows) | ((columns == 0) & (rows > 0))))[:, None]


class CausalDecoding:
    """Completions being written: a step gives each one a token, and appends all tokens of a group to its one row."""

    def __init__(
        self, network: CausalNetwork, prompts: Tensor, mask: Tensor, samples: int, tokens: int
    ) -> None:
        self._network, self._samples, self._written = network, samples, 0
        self._cache = SharedPrompts(prompts.shape[1] + samples * tokens)
        self._seen = positions = prompt_positions(mask)
        self._next_positions = positions[:, -1:] + 1
        causal = torch.ones(prompts.shape[1], prompts.shape[1], dtype=torch.bool, device=mask.device).tril()
        visible = causal & ((mask[:, None, :] & mask[:, :, None]) | ~mask[:, :, None])
        out = network._run(prompts, positions, positions, visible[:, None], self._cache)
        self.hidden = out[:, -1:].expand(-1, samples, -1)
        own = torch.eye(samples, dtype=torch.bool, device=mask.device).repeat(1, tokens)
        shared = mask[:, None, :].expand(-1, samples, -1)
        self._mask = torch.cat([shared, own.expand(len(mask), -1, -1)], 2)[:, None]

    def step(self, tokens: Tensor) -> None:
        """Append a token to each completion; tokens is [groups, samples]."""
        seen = self._cache.get_seq_length() + self._samples
        positions = (self._next_positions + self._written).expand(-1, self._samples)
        self._seen = torch.cat([self._seen, positions], 1)
        self.hidden = self._network._run(tokens, positions, self._seen, self._mask[..., :seen], self._cache)
        self._written += 1

    def keep(self, groups: Tensor) -> None:
        """Continue with these groups only."""
        self.hidden, self._mask = self.hidden[groups], self._mask[groups]
        self._next_positions, self._seen = self._next_positions[groups], self._seen[groups]
        self._cache.keep(groups)


class SharedPrompts(Cache):  # type: ignore[misc]
    """Keys and values of rows that grow by one token of each completion at a time, in preallocated memory."""

    def __init__(self, capacity: int) -> None:
        super().__init__(layers=[])
        self._capacity = capacity
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._lengths: list[int] = []

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Append to a layer, each [groups, heads, tokens, head width]; return everything that it holds."""
        if layer_idx == len(self._keys):
            shape = (*key_states.shape[:2], self._capacity, key_states.shape[3])
            self._keys.append(key_states.new_empty(shape))
            self._values.append(value_states.new_empty((*shape[:3], value_states.shape[3])))
            self._lengths.append(0)
        start = self._lengths[layer_idx]
        stop = self._lengths[layer_idx] = start + key_states.shape[2]
        self._keys[layer_idx][:, :, start:stop] = key_states
        self._values[layer_idx][:, :, start:stop] = value_states
        return self._keys[layer_idx][:, :, :stop], self._values[layer_idx][:, :, :stop]

    def get_seq_length(self, layer_idx: int = 0, *_: Any) -> int:
        """Return the tokens a layer holds."""
        return self._lengths[layer_idx] if layer_idx < len(self._lengths) else 0

    def keep(self, groups: Tensor) -> None:
        """Forget all other groups."""
        self._keys = [keys[groups] for keys in self._keys]
        self._values = [values[groups] for values in self._values]
