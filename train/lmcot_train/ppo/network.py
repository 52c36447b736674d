"""What PPO asks of a language model, whatever its shape: hidden states of given completions, and the next ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from lmcot_train.ppo.batch import Batch, Side


class Decoding(Protocol):
    """Completions that are being written, several a prompt, with what the network remembers of them."""

    @property
    def hidden(self) -> Tensor:
        """Hidden states from which each completion's next token follows [groups, samples, width]."""
        ...

    def step(self, tokens: Tensor) -> None:
        """Append a token to each completion; tokens is [groups, samples]."""
        ...

    def keep(self, groups: Tensor) -> None:
        """Go on with these groups only (indices of the present ones)."""
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
    def hidden(self, batch: Batch) -> Tensor:
        """Return the hidden state that each real completion token is predicted from [real tokens, width].

        The order is that of `tensor[batch.mask]`.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [..., width] to logits [..., vocabulary]."""

    @abstractmethod
    def decode(self, prompts: Sequence[Sequence[int]], samples: int, tokens: int) -> Decoding:
        """Read the prompts, and be ready to write up to `tokens` tokens of `samples` completions of each."""

    @abstractmethod
    def plain_logits(self, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
        """Return the logits of one completion's tokens [tokens, vocabulary] by the model's own forward pass."""
