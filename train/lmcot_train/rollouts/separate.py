"""Decoder-only models whose completions cannot share a row: each follows a copy of its prompt.

Convolutions and recurrent layers (LFM2, Granite-H) mix a token with those before it in the row, whatever the mask is.
So nothing is packed or padded on the left here, and a prompt is read once for each of its completions.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from lmcot_cli.errors import ModelError
from lmcot_train.rollouts.batch import RolloutBatch
from lmcot_train.rollouts.network import DecoderOnly

WORKING = "Llama, Qwen2, Qwen3, Gemma 2 and 3, Granite, Phi, SmolLM, Mistral, LFM2 and others like them"
"""Families that were tried, for error messages."""


def check_cache(network: DecoderOnly) -> None:
    """Raise a ModelError for a family whose decoder takes no `past_key_values`, such as Mamba."""
    if "past_key_values" not in inspect.signature(network.decoder.forward).parameters:
        raise without_cache(network)


def without_cache(network: DecoderOnly) -> ModelError:
    """Return the error for a family that cannot write token by token here."""
    return ModelError(
        f"{network.model.config.model_type!r} models cannot be refined: transformers gives them no cache to write with;"
        f" take a base of another family: {WORKING}"
    )


class SeparateNetwork(DecoderOnly):
    """A decoder-only transformers model, with each completion in a row of its own."""

    def hidden(self, batch: RolloutBatch) -> Tensor:
        """Run the rows, a prompt at a time; see `Network.hidden`."""
        found = []
        for prompt, real, completions, mask in zip(
            batch.prompts, batch.prompt_mask, batch.completions, batch.mask, strict=True
        ):
            known = prompt[real]
            rows = torch.cat([known.expand(len(completions), -1), completions], 1)
            out = self.decoder(input_ids=rows, use_cache=False).last_hidden_state
            found.append(out[:, len(known) - 1 : -1][mask])
        return torch.cat(found)

    def decode(self, prompts: Sequence[Sequence[int]], samples: int, tokens: int) -> SeparateDecoding:
        """Read the prompts; see `Network.decode`."""
        return SeparateDecoding(self, prompts, samples)


class SeparateDecoding:
    """Completions being written, those of each prompt in a batch with a cache of the model's own kind.

    Raises:
        ModelError: The model returns no cache to continue with.
    """

    def __init__(self, network: SeparateNetwork, prompts: Sequence[Sequence[int]], samples: int) -> None:
        self._network = network
        device = network.device
        read = [
            self._read(torch.tensor([prompt], device=device).expand(samples, -1), None) for prompt in prompts
        ]
        self._take(read)

    def step(self, tokens: Tensor) -> None:
        """Append a token to each completion; tokens is [groups, samples]."""
        self._take([self._read(row[:, None], cache) for row, cache in zip(tokens, self._caches, strict=True)])

    def _take(self, read: list[tuple[Tensor, Any]]) -> None:
        self.hidden = torch.stack([hidden for hidden, _ in read])
        self._caches = [cache for _, cache in read]

    def keep(self, groups: Tensor) -> None:
        """Continue with these groups only."""
        self.hidden = self.hidden[groups]
        self._caches = [self._caches[group] for group in groups.tolist()]

    def _read(self, tokens: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Read tokens [samples, tokens]; return the last hidden states [samples, width] and the cache."""
        out = self._network.decoder(input_ids=tokens, past_key_values=cache, use_cache=True)
        if out.past_key_values is None:
            raise without_cache(self._network)
        return cast(Tensor, out.last_hidden_state[:, -1]), out.past_key_values
