"""Encoder-decoder models: the encoder reads each prompt once, the decoder writes every completion of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from lmcot_train.rollouts.batch import RolloutBatch, Side, pad
from lmcot_train.rollouts.network import Network

_SCALED = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
"""Families that scale the input of tied output embeddings."""


class Seq2SeqNetwork(Network):
    """An encoder-decoder transformers model."""

    side: Side = "right"

    def hidden(self, batch: RolloutBatch) -> Tensor:
        """Run encoder and decoder; see `Network.hidden`."""
        groups, samples, tokens = batch.completions.shape
        encoded, mask = self.encode(batch.prompts, batch.prompt_mask, samples)
        start = torch.full((groups * samples, 1), self.start, device=encoded.device)
        inputs = torch.cat([start, batch.completions.flatten(0, 1)[:, :-1]], 1)
        out = self.decoder(
            input_ids=inputs, encoder_hidden_states=encoded, encoder_attention_mask=mask, use_cache=False
        )
        return cast(Tensor, out.last_hidden_state.view(groups, samples, tokens, -1)[batch.mask])

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [..., width] to logits [..., vocabulary]."""
        config = self.model.config
        if config.model_type in _SCALED and config.tie_word_embeddings:
            hidden = hidden * config.d_model**-0.5
        return cast(Tensor, self.model.get_output_embeddings()(hidden))

    def decode(self, prompts: Sequence[Sequence[int]], samples: int, tokens: int) -> Seq2SeqDecoding:
        """Read the prompts; see `Network.decode`."""
        return Seq2SeqDecoding(self, *pad(prompts, self.side, self.device), samples)

    def plain_logits(self, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
        """Run the model's own forward pass; see `Network.plain_logits`."""
        ids = torch.tensor([prompt], device=self.device)
        inputs = torch.tensor([[self.start, *completion[:-1]]], device=self.device)
        return cast(Tensor, self.model(input_ids=ids, decoder_input_ids=inputs).logits[0])

    def encode(self, prompts: Tensor, mask: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """Encode prompts once; return the states and the mask, repeated for each sample [groups * samples, ...]."""
        states = self.model.get_encoder()(input_ids=prompts, attention_mask=mask.long()).last_hidden_state
        return states.repeat_interleave(samples, 0), mask.long().repeat_interleave(samples, 0)

    @property
    def decoder(self) -> Any:
        """The decoder."""
        return self.model.get_decoder()

    @property
    def start(self) -> int:
        """The token that every completion starts from."""
        return int(self.model.config.decoder_start_token_id)


class Seq2SeqDecoding:
    """Completions being written by the decoder, one row each."""

    def __init__(self, network: Seq2SeqNetwork, prompts: Tensor, mask: Tensor, samples: int) -> None:
        self._network, self._samples, self._cache = network, samples, None
        self._encoded, self._mask = network.encode(prompts, mask, samples)
        self.step(torch.full((len(prompts), samples), network.start, device=prompts.device))

    def step(self, tokens: Tensor) -> None:
        """Append a token to each completion; tokens is [groups, samples]."""
        out = self._network.decoder(
            input_ids=tokens.reshape(-1, 1),
            encoder_hidden_states=self._encoded,
            encoder_attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = out.past_key_values
        self.hidden = out.last_hidden_state.view(*tokens.shape, -1)

    def keep(self, groups: Tensor) -> None:
        """Continue with these groups only."""
        rows = (groups[:, None] * self._samples + torch.arange(self._samples, device=groups.device)).flatten()
        self.hidden = self.hidden[groups]
        self._encoded, self._mask = self._encoded[rows], self._mask[rows]
        cast(Any, self._cache).batch_select_indices(rows)
