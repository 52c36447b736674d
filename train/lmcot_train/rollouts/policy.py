"""The policy that learns, the reference it is held to, and the value head on the policy's trunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from lmcot_cli.errors import ModelError
from lmcot_train.rollouts.batch import RolloutBatch, RolloutGroup, collate
from lmcot_train.rollouts.causal import CausalNetwork
from lmcot_train.rollouts.network import DecoderOnly, Network
from lmcot_train.rollouts.separate import WORKING, SeparateNetwork, check_cache
from lmcot_train.rollouts.seq2seq import Seq2SeqNetwork
from lmcot_train.rollouts.token_math import chosen_logprobs, entropies


@dataclass(frozen=True, slots=True)
class TokenScores:
    """The policy's scores of given completions, each [groups, samples, tokens]; 0 at padding.

    Attributes:
        logprobs: Log-probability of each token.
        values: Reward still to come, as estimated before each token is written.
        entropies: Entropy of the distribution that each token was drawn from.
        untempered: Log-probability of each token at temperature 1, without a gradient.
    """

    logprobs: Tensor
    values: Tensor
    entropies: Tensor
    untempered: Tensor


class Policy(nn.Module):
    """A language model with a value head.

    With LoRA (a `PeftModel`) the reference is the same model with the adapter switched off. Without LoRA all weights
    learn, and the reference is a frozen copy, which doubles the memory for weights.

    Args:
        model: A `PeftModel`, or a transformers model whose weights all learn.
        temperature: Divisor of the logits, in sampling and in learning alike.
        bfloat16: Compute in bfloat16; what learns stays float32.
    """

    def __init__(self, model: nn.Module, temperature: float = 1.0, *, bfloat16: bool = False) -> None:
        super().__init__()
        self.adapted = model if isinstance(model, PeftModel) else None
        inner: Any = self.adapted.get_base_model() if self.adapted else model
        kind = Seq2SeqNetwork if inner.config.is_encoder_decoder else CausalNetwork
        self.network: Network = kind(inner)
        # In a list, so that it is no submodule.
        self._frozen: list[Network] = (
            [] if self.adapted else [kind(deepcopy(inner).requires_grad_(False)).eval()]
        )
        self.value_head = nn.Linear(self.network.width, 1, device=self.network.device)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        self.temperature, self._in_bfloat16 = temperature, bfloat16
        self.eval()  # dropout would make the sampling policy differ from the one that learns

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The weights of the language model that learn, by name."""
        return {name: p for name, p in self.network.model.named_parameters() if p.requires_grad}

    def learned(self) -> dict[str, Tensor]:
        """Return copies of all that learns, the value head included, by name."""
        head = {f"value_head.{name}": tensor for name, tensor in self.value_head.named_parameters()}
        named = {f"model.{name}": tensor for name, tensor in self.weights.items()} | head
        return {name: tensor.detach().cpu().clone() for name, tensor in named.items()}

    @torch.no_grad()
    def load_learned(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `learned` returned.

        Raises:
            KeyError: A weight is missing.
            RuntimeError: A weight has another shape.
        """
        for name, parameter in self.weights.items():
            parameter.copy_(tensors[f"model.{name}"])
        for name, parameter in self.value_head.named_parameters():
            parameter.copy_(tensors[f"value_head.{name}"])

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context to compute in: bfloat16, if the policy uses it."""
        if not self._in_bfloat16:
            return nullcontext()
        return torch.autocast(self.network.device.type, torch.bfloat16)

    @contextmanager
    def as_reference(self) -> Iterator[None]:
        """Make the policy its own reference within; its value head stays."""
        if self.adapted:
            with self.adapted.disable_adapter():
                yield
            return
        learning = self.network
        self.network = self._frozen[0]
        try:
            yield
        finally:
            self.network = learning

    def forward(self, batch: RolloutBatch, *, entropy_gradient: bool = False) -> TokenScores:
        """Score completions; entropies carry a gradient only on demand, since it takes memory."""
        with self.precision():
            hidden = self.network.hidden(batch)
            logits = self.network.logits(hidden)
        tokens = batch.completions[batch.mask]
        untempered = chosen_logprobs(logits.detach().float(), tokens)
        logits = logits.float() / self.temperature
        with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
            entropy = entropies(logits)
        found = (chosen_logprobs(logits, tokens), self._values(hidden), entropy, untempered)
        return TokenScores(*(scatter(values, batch.mask) for values in found))

    def _values(self, hidden: Tensor) -> Tensor:
        values: Tensor = self.value_head(hidden.float())
        return values.squeeze(-1)

    @property
    def reference_model(self) -> nn.Module | None:
        """The frozen copy of a model whose weights all learn; None where there is an adapter to switch off."""
        return self._frozen[0].model if self._frozen else None

    @torch.no_grad()
    def fit(self, group: RolloutGroup) -> bool:
        """Make sure that completions get the probabilities that the model's own forward pass gives them.

        Where the completions of a decoder-only model do not when they share a row, each has its own from now on.

        Returns:
            Whether completions share rows.

        Raises:
            ModelError: They get other probabilities either way.
        """
        if isinstance(self.network, DecoderOnly):
            check_cache(self.network)
        difference = self._packing_error(group)
        if difference <= self._tolerance:
            return True
        if isinstance(self.network, CausalNetwork):
            self.network = SeparateNetwork(self.network.model)
            self._frozen = [SeparateNetwork(one.model).eval() for one in self._frozen]
            difference = self._packing_error(group)
            self.network.decode([group.prompt], 1, 1)  # raises where there is no way to write
        if difference > self._tolerance:
            kind = self.network.model.config.model_type
            raise ModelError(
                f"{kind!r} models cannot be refined: completions get other probabilities in training than in use (by"
                f" {difference:.3g} nats per token); take a base of another family: {WORKING}"
            )
        return False

    @property
    def _tolerance(self) -> float:
        return 0.1 if self._in_bfloat16 else 1e-3

    def _packing_error(self, group: RolloutGroup) -> float:
        """Return how far the log-probabilities of completions are from the model's own, in nats per token."""
        batch = collate([group], self.network.side, self.network.device)
        with self.precision():
            plain = [self.network.plain_logits(group.prompt, one) for one in group.completions]
        expected = torch.cat(plain).float() / self.temperature
        packed = self(batch).logprobs[batch.mask]
        return float((packed - chosen_logprobs(expected, batch.completions[batch.mask])).abs().mean())


def scatter(values: Tensor, mask: Tensor) -> Tensor:
    """Put `values` [real tokens] where `mask` is true, 0 elsewhere; the inverse of `tensor[mask]`."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)
