"""A Llama-shape decoder, with parameter names as transformers writes them.

Unlike transformers' own, it takes an attention mask of any form (several questions share one context), computes logits
only where a loss needs them, and shows the attention of single heads (see `tools.pretrain.loop`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """Sizes of the network; input and output embeddings are separate."""

    vocabulary: int
    width: int = 256
    layers: int = 6
    heads: int = 4
    feed_forward: int = 512
    context: int = 4096
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q_proj = nn.Linear(shape.width, shape.width, bias=False)
        self.k_proj = nn.Linear(shape.width, shape.width, bias=False)
        self.v_proj = nn.Linear(shape.width, shape.width, bias=False)
        self.o_proj = nn.Linear(shape.width, shape.width, bias=False)

    def queries_and_keys(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Project and rotate; x is [batch, length, width], the results [batch, heads, length, head width]."""
        return rotate(self._split(self.q_proj(x)), rotation), rotate(self._split(self.k_proj(x)), rotation)

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend where `mask` [batch, 1, length, length] is true; also return the queries and keys."""
        queries, keys = self.queries_and_keys(x, rotation)
        mixed = F.scaled_dot_product_attention(queries, keys, self._split(self.v_proj(x)), attn_mask=mask)
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), queries, keys

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., width] to [..., width]."""
        return cast(Tensor, self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x)))


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.mlp = FeedForward(shape)

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the new residual stream and this layer's queries and keys."""
        mixed, queries, keys = self.self_attn(self.input_layernorm(x), rotation, mask)
        x = x + mixed
        return x + self.mlp(self.post_attention_layernorm(x)), queries, keys


class Llama(nn.Module):
    """The decoder.

    It begins as a copier. Embeddings are large and what layers add to them is nothing at first, so every layer can
    read which token stands where; in `copy_layer`, attending to a token makes its logit rise (the output embeddings
    are the input's, turned as that layer's values turn them). Retrieval then needs attention alone.
    """

    def __init__(self, shape: LlamaShape, copy_layer: int) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.lm_head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        for name, parameter in self.layers.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                nn.init.normal_(parameter, std=shape.width**-0.5)
        self._start_copying(cast(Layer, self.layers[copy_layer]).self_attn)

    def _start_copying(self, attention: Attention) -> None:
        nn.init.normal_(self.embed_tokens.weight)
        nn.init.orthogonal_(attention.v_proj.weight)
        nn.init.orthogonal_(attention.o_proj.weight)
        with torch.no_grad():
            turn = attention.o_proj.weight @ attention.v_proj.weight
            self.lm_head.weight.copy_(0.02 * self.embed_tokens.weight @ turn.T)

    def forward(
        self, tokens: Tensor, positions: Tensor, mask: Tensor
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Run the network.

        Args:
            tokens: Token ids [batch, length].
            positions: Rotary positions [batch, length].
            mask: True where a row may attend to a column [batch, 1, length, length].

        Returns:
            The normalised last hidden states [batch, length, width] and every layer's queries and keys, each
            [batch, heads, length, head width].
        """
        rotation = rotary(positions, self.shape.head_width, self.shape.rope_base)
        x, seen = self.embed_tokens(tokens), []
        for layer in self.layers:
            x, queries, keys = layer(x, rotation, mask)
            seen.append((queries, keys))
        return cast(Tensor, self.norm(x)), seen

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [..., width] to logits [..., vocabulary]."""
        return cast(Tensor, self.lm_head(hidden))


def rotary(positions: Tensor, head_width: int, base: float) -> tuple[Tensor, Tensor]:
    """Return cosine and sine [batch, 1, length, head width] of the rotary angles (RoFormer, arXiv 2104.09864)."""
    exponents = torch.arange(0, head_width, 2, dtype=torch.float32, device=positions.device) / head_width
    angles = positions[:, None, :, None].float() * base**-exponents
    return torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate [batch, heads, length, head width] by halves, as transformers does."""
    cosine, sine = rotation
    left, right = x.chunk(2, -1)
    return x * cosine.to(x.dtype) + torch.cat([-right, left], -1) * sine.to(x.dtype)
