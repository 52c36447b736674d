"""The families of models that can be written as GGUF: what their files say, and how their weights are turned.

A family is a row of `FAMILIES`. Tensor names come from the `gguf` package; what is ours is what transformers and
llama.cpp store differently, and which settings llama.cpp takes for granted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import gguf
import numpy as np
from numpy.typing import NDArray

from lmcot_cli.errors import ModelError
from lmcot_export.gguf import rope
from lmcot_export.gguf.config import ModelConfig

Array = NDArray[np.float32]
Transform = Callable[[Array], Array]

_SLIDING, _FULL = "sliding_attention", "full_attention"
_GEMMA3_27B_LAYERS = 62
_GEMMA3_PERIOD = 6  # llama.cpp's: five sliding-window layers, then one that sees everything


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture.

    Attributes:
        architecture: llama.cpp's.
        describe: Writes the hyperparameters, and refuses settings that llama.cpp has no equal for.
        transform: Returns how the tensor of a name changes; None where it is stored as it is.
        unused: Ends of names of tensors that hold no weights (masks and frequencies of old files).
    """

    architecture: gguf.MODEL_ARCH
    describe: Callable[[gguf.GGUFWriter, ModelConfig], None]
    transform: Callable[[str, ModelConfig], Transform | None] = lambda name, config: None
    unused: tuple[str, ...] = field(default=(".rotary_emb.inv_freq",))


def family_of(config: ModelConfig) -> Family:
    """Return the family of a model.

    Raises:
        ModelError: It is none that can be written.
    """
    family = FAMILIES.get(config.architecture)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise ModelError(
            f"{config.folder / 'config.json'}: the architecture {config.architecture} cannot be written as GGUF here"
            f" (known: {known}); let a llama.cpp checkout convert it: --converter PATH"
        )
    if config.get("quantization_config"):
        raise ModelError(
            f"{config.folder}: its weights are quantized; export the full-precision model it was made from"
        )
    return family


def _describe_decoder(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    """Write what all families with rotary positions and RMS norms share."""
    heads = config.integer("num_attention_heads")
    writer.add_block_count(config.integer("num_hidden_layers"))
    writer.add_context_length(config.integer("max_position_embeddings"))
    writer.add_embedding_length(config.integer("hidden_size"))
    writer.add_feed_forward_length(config.integer("intermediate_size"))
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", heads))
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_layer_norm_rms_eps(config.real("rms_norm_eps"))
    rope.describe(writer, config)
    if config.head_width % 2:
        config.refuse(f"heads of odd width ({config.head_width}) cannot rotate")


def _describe_llama(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    config.require("hidden_act", "silu")
    _describe_decoder(writer, config)
    writer.add_vocab_size(config.integer("vocab_size"))
    writer.add_rope_dimension_count(config.head_width)


def _describe_qwen(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    config.require("hidden_act", "silu")
    if _SLIDING in config.get("layer_types", []):
        config.refuse("sliding-window attention (use_sliding_window) is not computed by llama.cpp for Qwen")
    _describe_decoder(writer, config)


def _describe_qwen3(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    config.require("attention_bias", False)
    _describe_qwen(writer, config)


def _describe_qwen2(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    if config.head_width * config.integer("num_attention_heads") != config.integer("hidden_size"):
        config.refuse("llama.cpp computes Qwen2 with heads that together are as wide as hidden_size only")
    _describe_qwen(writer, config)


def _describe_gemma3(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    config.require("hidden_activation", "gelu_pytorch_tanh")
    config.require("attn_logit_softcapping")
    config.require("query_pre_attn_scalar", _gemma3_attention_scale(config))
    config.require("use_bidirectional_attention", False)
    config.require("attention_bias", False)
    _describe_decoder(writer, config)
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config.real("final_logit_softcapping"))
    kinds = config.get("layer_types", [])
    if _SLIDING in kinds:
        if any((kind == _FULL) != ((layer + 1) % _GEMMA3_PERIOD == 0) for layer, kind in enumerate(kinds)):
            config.refuse("layer_types: llama.cpp has every sixth layer see the whole context, and no other")
        writer.add_sliding_window(config.integer("sliding_window"))
        writer.add_rope_freq_base_swa(float(rope.parameters(config, _SLIDING)["rope_theta"]))


def _gemma3_attention_scale(config: ModelConfig) -> int:
    """Return what llama.cpp divides attention scores by the root of: the head width, but for the 27B model."""
    if config.integer("num_hidden_layers") == _GEMMA3_27B_LAYERS:
        return config.integer("hidden_size") // config.integer("num_attention_heads")
    return config.head_width


def _describe_gpt2(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    config.require("activation_function", "gelu_new", "gelu_pytorch_tanh")
    config.require("scale_attn_weights", True)
    config.require("scale_attn_by_inverse_layer_idx", False)
    config.require("add_cross_attention", False)
    width = config.integer("n_embd")
    writer.add_block_count(config.integer("n_layer"))
    writer.add_context_length(config.integer("n_positions"))
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(config.get("n_inner", 4 * width))
    writer.add_head_count(config.integer("n_head"))
    writer.add_layer_norm_eps(config.real("layer_norm_epsilon"))


def _transform_llama(name: str, config: ModelConfig) -> Transform | None:
    heads = config.integer("num_attention_heads")
    if name.endswith(("q_proj.weight", "q_proj.bias")):
        return lambda weight: interleave(weight, heads)
    if name.endswith(("k_proj.weight", "k_proj.bias")):
        return lambda weight: interleave(weight, config.get("num_key_value_heads", heads))
    return None


def _transform_gemma3(name: str, config: ModelConfig) -> Transform | None:
    if name.endswith("norm.weight"):
        return lambda weight: weight + np.float32(1)  # Gemma3RMSNorm multiplies by 1 + weight
    return None


def _transform_gpt2(name: str, config: ModelConfig) -> Transform | None:
    if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return lambda weight: weight.T  # Conv1D stores [inputs, outputs]
    return None


def interleave(weight: Array, heads: int) -> Array:
    """Reorder the rows of a query or key projection, or the entries of its bias.

    transformers rotates the two halves of a head against each other, llama.cpp neighbouring pairs.

    Args:
        weight: [heads * head width] or [heads * head width, inputs].
        heads: How many heads the rows belong to.
    """
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


FAMILIES = {
    "LlamaForCausalLM": Family(gguf.MODEL_ARCH.LLAMA, _describe_llama, _transform_llama),
    "Qwen2ForCausalLM": Family(gguf.MODEL_ARCH.QWEN2, _describe_qwen2),
    "Qwen3ForCausalLM": Family(gguf.MODEL_ARCH.QWEN3, _describe_qwen3),
    "Gemma3ForCausalLM": Family(gguf.MODEL_ARCH.GEMMA3, _describe_gemma3, _transform_gemma3),
    "GPT2LMHeadModel": Family(
        gguf.MODEL_ARCH.GPT2, _describe_gpt2, _transform_gpt2, unused=(".attn.bias", ".attn.masked_bias")
    ),
}
"""The class that transformers loads, and its family."""
