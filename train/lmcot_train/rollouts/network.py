"""What a policy needs of a language model: hidden states of given completions, and those of the next tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from inspect import signature
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from lmcot_train.rollouts.batch import RolloutBatch, Side


class Decoding(Protocol):
    """Completions that are being written, several for each prompt, with what the network remembers of them."""

    @property
    def hidden(self) -> Tensor:
        """Hidden states that predict the next token of each completion [groups, samples, width]."""
        ...

    def step(self, tokens: Tensor) -> None:
        """Append a token to each completion; tokens is [groups, samples]."""
        ...

    def keep(self, groups: Tensor) -> None:
        """Continue with these groups only (indices of the present ones)."""
        ...


class Network(nn.Module, ABC):
    """A transformers model, run so that all completions of a prompt share the work on it.

    Attributes:
        model: The model itself; LoRA layers, if any, are in place.
        side: Where prompts are padded.
    """

    side: Side

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = cast(Any, model)

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        return int(self.model.get_input_embeddings().weight.shape[-1])

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return cast(torch.device, next(self.model.parameters()).device)

    @abstractmethod
    def hidden(self, batch: RolloutBatch) -> Tensor:
        """Return the hidden state that predicts each token of `completions[mask]` [real tokens, width]."""

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [..., width] to logits [..., vocabulary]."""

    @abstractmethod
    def decode(self, prompts: Sequence[Sequence[int]], samples: int, tokens: int) -> Decoding:
        """Read the prompts, to write `samples` completions of up to `tokens` tokens for each."""

    @abstractmethod
    def plain_logits(self, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
        """Return the logits of one completion's tokens [tokens, vocabulary] by the model's own forward pass."""


class DecoderOnly(Network):
    """The common part of decoder-only models: the model's own decoder, head and forward pass."""

    side: Side = "left"

    @property
    def decoder(self) -> Any:
        """The model without its head."""
        return self._named_decoder[1]

    @property
    def _named_decoder(self) -> tuple[str, Any]:
        """The part that reads tokens; `base_model_prefix` is not its name everywhere (Gemma 3)."""
        return next(
            (name, part)
            for name, part in self.model.named_children()
            if "input_ids" in signature(part.forward).parameters
        )

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [..., width] to logits [..., vocabulary] by the model's own forward pass.

        It runs with a stand-in for its decoder, so whatever a family does to the logits is done: Granite and Cohere
        scale them, Gemma 2 caps them.
        """
        name, decoder = self._named_decoder
        flat = hidden.reshape(1, -1, hidden.shape[-1])
        self.model._modules[name] = _KnownStates(flat)
        try:
            ids = torch.zeros(flat.shape[:2], dtype=torch.long, device=flat.device)
            found = self.model(input_ids=ids, use_cache=False).logits
        finally:
            self.model._modules[name] = decoder
        return cast(Tensor, found.view(*hidden.shape[:-1], -1))

    def plain_logits(self, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
        """Run the model's own forward pass; see `Network.plain_logits`."""
        ids = torch.tensor([[*prompt, *completion]], device=self.device)
        return cast(Tensor, self.model(input_ids=ids).logits[0, len(prompt) - 1 : -1])


class _KnownStates(nn.Module):
    """Stands in for a decoder, and returns known hidden states."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *_: Any, **__: Any) -> BaseModelOutputWithPast:
        """Return the hidden states."""
        return BaseModelOutputWithPast(last_hidden_state=self.hidden)
