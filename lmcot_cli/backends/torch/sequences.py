"""The sequences of one batch: their KV cache, and the logits after their newest tokens.

Both classes run any model with the forward call of transformers, by torch or by ONNX Runtime.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lmcot_cli.backends.sampling import Logits

if TYPE_CHECKING:
    from torch import Tensor

MAX_LOGITS = 2**26
"""Maximum logits (256 MiB in float32) of a forward call that returns those of every position."""


class Sequences(ABC):
    """Sequences that grow token by token.

    Args:
        model: The model.
        mask: 1 for each token of the prompts, 0 for padding, [prompts, longest].

    Attributes:
        logits: The logits after the newest token of each, [sequences, vocabulary].
    """

    logits: Logits

    def __init__(self, model: Any, mask: Tensor) -> None:
        self._model, self._mask = model, mask
        self._cache: Any = None

    def select(self, rows: Sequence[int]) -> None:
        """Continue with the sequences `rows`, in this order; one that is named several times is copied."""
        index = _index(rows, self._mask)
        self._cache = _select_cache(self._cache, index)
        self._mask = self._mask[index]
        self.logits = self.logits[list(rows)]

    @abstractmethod
    def append(self, tokens: Sequence[int]) -> None:
        """Append the next token of each sequence."""


class DecoderSequences(Sequences):
    """The sequences of a decoder-only model, whose prompts are padded on the left."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        tokens, mask = pad(prompts, model.device, left=True)
        super().__init__(model, mask)
        self._parameters = inspect.signature(model.forward).parameters
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        for start in range(0, tokens.shape[1], step := self._columns(len(prompts), tokens.shape[1])):
            end = start + step
            logits = self._forward(tokens[:, start:end], positions[:, start:end], mask[:, :end])
        self.logits = to_numpy(logits)

    def append(self, tokens: Sequence[int]) -> None:
        """Append the next token of each sequence."""
        import torch

        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
        newest, positions = _index(tokens, self._mask)[:, None], self._mask.sum(-1, keepdim=True) - 1
        self.logits = to_numpy(self._forward(newest, positions, self._mask))

    def _columns(self, prompts: int, longest: int) -> int:
        """Return how many tokens of every prompt to read per forward call."""
        if "logits_to_keep" in self._parameters:
            return longest
        return max(MAX_LOGITS // (prompts * int(self._model.config.vocab_size)), 1)

    def _forward(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Read columns of tokens, [sequences, columns]; return the logits after the last, [sequences, vocabulary]."""
        chosen: dict[str, Any] = {"position_ids": positions, "logits_to_keep": 1}
        outputs = self._model(
            input_ids=tokens,
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            **{name: value for name, value in chosen.items() if name in self._parameters},
        )
        self._cache = outputs.past_key_values
        logits: Tensor = outputs.logits[:, -1]
        return logits


class EncoderDecoderSequences(Sequences):
    """The decoder sequences of an encoder-decoder model; prompts go through the encoder once.

    Args:
        model: The model.
        prompts: Token ids of each prompt.
        start: The token that every decoder sequence begins with.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], start: int) -> None:
        tokens, mask = pad(prompts, model.device, left=False)
        super().__init__(model, mask)
        self._encoded: Tensor = model.get_encoder()(input_ids=tokens, attention_mask=mask).last_hidden_state
        self.append([start] * len(prompts))

    def select(self, rows: Sequence[int]) -> None:
        """Continue with the sequences `rows`; see `Sequences.select`."""
        super().select(rows)
        self._encoded = self._encoded[_index(rows, self._mask)]

    def append(self, tokens: Sequence[int]) -> None:
        """Append the next token of each sequence."""
        from transformers.modeling_outputs import BaseModelOutput

        outputs = self._model(
            encoder_outputs=BaseModelOutput(self._encoded),
            attention_mask=self._mask,
            decoder_input_ids=_index(tokens, self._mask)[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = outputs.past_key_values
        self.logits = to_numpy(outputs.logits[:, -1])


def pad(prompts: Sequence[Sequence[int]], device: Any, *, left: bool) -> tuple[Tensor, Tensor]:
    """Pad prompts to one length; return their tokens and their mask, both [prompts, longest].

    Masked tokens have no effect, so any token can pad: no pad token is needed.
    """
    import torch

    longest = max(map(len, prompts))
    tokens = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        place = slice(longest - len(prompt), None) if left else slice(len(prompt))
        tokens[row, place] = torch.tensor(prompt)
        mask[row, place] = 1
    return tokens.to(device), mask.to(device)


def to_numpy(logits: Tensor) -> Logits:
    """Return logits as a float32 array on the CPU."""
    found: Logits = logits.float().cpu().numpy()
    return found


def _select_cache(cache: Any, index: Tensor) -> Any:
    """Select rows of a KV cache: one of transformers, or the nested tuples of tensors of ONNX models."""
    if isinstance(cache, tuple):
        return tuple(_select_cache(part, index) for part in cache)
    if hasattr(cache, "batch_select_indices"):
        cache.batch_select_indices(index)
        return cache
    return cache.index_select(0, index)


def _index(values: Sequence[int], like: Tensor) -> Tensor:
    import torch

    return torch.tensor(list(values), dtype=torch.long, device=like.device)
