"""What a model keeps of a text: keys and values of every token, a state of fixed size, or both.

Recurrent models (Mamba, RWKV) keep a state for each sequence and nothing for its tokens; hybrids (Jamba, LFM2,
Granite-H, Falcon-H1, Qwen3-Next) have layers of both kinds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

from lmcot_cli.model_files.gguf_header import GgufHeader

MemoryKind: TypeAlias = Literal["attention", "window", "recurrent", "hybrid"]
"""Attention to all tokens, attention to the newest tokens in some layers, a state in all layers, or in some."""

_LAYER = re.compile(r"blk\.(\d{1,6})\.(.+)")
_OF_A_STATE = ("ssm_", "shortconv.", "time_mix_")
_OF_ATTENTION = "attn_output."  # layers with a state may have other tensors that begin with attn


@dataclass(frozen=True, slots=True)
class MemoryShape:
    """How many values a model keeps.

    Attributes:
        token_values: Keys and values of one token in all layers; 0 where no layer has attention.
        state_values: Values of the state of one sequence in all layers; 0 where no layer has one.
    """

    token_values: int
    state_values: int = 0

    @classmethod
    def of(cls, header: GgufHeader) -> Self:
        """Return the shape that a checked header and the names of its tensors state."""
        tensors = layer_tensors(header)
        count = number(header, "block_count")
        attending = [layer for layer in range(count) if _attends(tensors.get(layer, set()))]
        with_state = [layer for layer in range(count) if has_state(tensors.get(layer, set()))]
        values = sum(_kv_heads(header, layer) for layer in attending) * _values_per_head(header)
        return cls(values, len(with_state) * _state_values(header))


def layer_tensors(header: GgufHeader) -> dict[int, set[str]]:
    """Return the names of each layer's tensors without `blk.N.`."""
    layers: dict[int, set[str]] = {}
    for tensor in header.tensors:
        if found := _LAYER.fullmatch(tensor.name):
            layers.setdefault(int(found[1]), set()).add(found[2])
    return layers


def has_state(tensors: set[str]) -> bool:
    """Return whether a layer with these tensors has a state of fixed size."""
    return any(name.startswith(_OF_A_STATE) for name in tensors)


def has_attention(tensors: set[str]) -> bool:
    """Return whether a layer with these tensors has keys and values, judging by their names."""
    return any(name.startswith(_OF_ATTENTION) for name in tensors)


def number(header: GgufHeader, name: str, default: int = 0) -> int:
    """Return a setting of the architecture; where it is stated for each layer, the largest."""
    value = header.setting(name, default)
    return int(max(value, default=0) if isinstance(value, list) else value)


def _attends(tensors: set[str]) -> bool:
    return has_attention(tensors) or not has_state(tensors)


def _kv_heads(header: GgufHeader, layer: int) -> int:
    heads = header.setting("attention.head_count_kv")
    if isinstance(heads, list):
        return int(heads[layer]) if layer < len(heads) else max(heads, default=0)
    return int(heads or number(header, "attention.head_count"))


def _values_per_head(header: GgufHeader) -> int:
    width = number(header, "embedding_length") // max(number(header, "attention.head_count"), 1)
    return number(header, "attention.key_length", width) + number(header, "attention.value_length", width)


def _state_values(header: GgufHeader) -> int:
    """Return the size of one layer's state, as in llama.cpp's `llama_hparams::n_embd_r` and `n_embd_s`."""
    width = number(header, "embedding_length")
    if head := number(header, "wkv.head_size"):
        return width * (number(header, "token_shift_count", 2) + head)
    if length := number(header, "shortconv.l_cache"):
        return width * (length - 1)
    inner, state = number(header, "ssm.inner_size"), number(header, "ssm.state_size")
    convolved = inner + 2 * number(header, "ssm.group_count") * state
    return max(number(header, "ssm.conv_kernel") - 1, 0) * convolved + inner * state
