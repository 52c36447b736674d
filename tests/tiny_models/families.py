"""Small GGUF files with random weights, one of every kind of memory that llama.cpp has for a text.

Tensors are those of llama.cpp's loaders (`src/models/*.cpp`); weights are scaled so that what was read long ago still
shows in the logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import gguf
import numpy as np
import numpy.typing as npt

from tests.tiny_models.gguf_files import TinyLlama, write_tokenizer

WIDTH, LAYERS, HEADS, KV_HEADS, FEED_FORWARD = 64, 4, 4, 2, 96
HEAD = WIDTH // HEADS
INNER, STATE, CONV, RANK, GROUPS = 2 * WIDTH, 16, 4, 8, 2
EXPERTS = 2
WINDOW = 24

Float32: TypeAlias = npt.NDArray[np.float32]
Shape: TypeAlias = tuple[int, ...]
Sizes: TypeAlias = dict[str, Shape]
"""Tensors and their sizes as numpy has them: [outputs, inputs]."""


@dataclass(frozen=True)
class Family:
    """How a family's files are written.

    Attributes:
        architecture: llama.cpp's name of it.
        layer: The tensors of a layer, by its number, without `blk.N.`.
        header: Adds what the header says besides the width and the number of layers.
    """

    architecture: str
    layer: Callable[[int], Sizes]
    header: Callable[[gguf.GGUFWriter], None]


def write_family(path: Path, name: str, context: int) -> Path:
    """Write a model of a family, with the tokenizer of `TinyLlama`."""
    family = FAMILIES[name]
    writer = gguf.GGUFWriter(path, family.architecture)
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    family.header(writer)
    tokens = write_tokenizer(writer, TinyLlama())
    norm = "token_embd_norm.weight" if family.architecture == "lfm2" else "output_norm.weight"
    sizes: Sizes = {"token_embd.weight": (tokens, WIDTH), norm: (WIDTH,), "output.weight": (tokens, WIDTH)}
    for number in range(LAYERS):
        sizes |= {f"blk.{number}.{tensor}": size for tensor, size in family.layer(number).items()}
    random = np.random.default_rng(0)
    for tensor, size in sizes.items():
        writer.add_tensor(tensor, _weight(tensor, size, random))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _weight(name: str, size: Shape, random: np.random.Generator) -> Float32:
    """Make a tensor; decay is slow (`ssm_a`) and steps are small (`ssm_dt.bias`), so states remember."""
    part = name.removeprefix("blk.").partition(".")[2] if name.startswith("blk.") else name
    if part == "ssm_a":
        return -random.uniform(0.05, 0.5, size).astype(np.float32)
    if part == "ssm_dt.bias":
        return random.uniform(-2.0, 0.0, size).astype(np.float32)
    if part == "ssm_d" or "norm" in part:
        return np.ones(size, np.float32)
    if len(size) == 1:
        return (0.1 * random.standard_normal(size)).astype(np.float32)
    gain = {"token_embd.weight": 8.0, "output.weight": 3.0}.get(name, 2.0)
    return (random.standard_normal(size) * gain / np.sqrt(size[-1])).astype(np.float32)


def _attention(normed: bool = False) -> Sizes:
    sizes: Sizes = {
        "attn_norm.weight": (WIDTH,),
        "attn_q.weight": (WIDTH, WIDTH),
        "attn_k.weight": (KV_HEADS * HEAD, WIDTH),
        "attn_v.weight": (KV_HEADS * HEAD, WIDTH),
        "attn_output.weight": (WIDTH, WIDTH),
    }
    return sizes | {"attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,)} if normed else sizes


def _feed_forward(norm: str = "ffn_norm.weight") -> Sizes:
    return {
        norm: (WIDTH,),
        "ffn_gate.weight": (FEED_FORWARD, WIDTH),
        "ffn_up.weight": (FEED_FORWARD, WIDTH),
        "ffn_down.weight": (WIDTH, FEED_FORWARD),
    }


def _mamba(normed: bool = False) -> Sizes:
    sizes: Sizes = {
        "attn_norm.weight": (WIDTH,),
        "ssm_in.weight": (2 * INNER, WIDTH),
        "ssm_conv1d.weight": (INNER, CONV),
        "ssm_conv1d.bias": (INNER,),
        "ssm_x.weight": (RANK + 2 * STATE, INNER),
        "ssm_dt.weight": (INNER, RANK),
        "ssm_dt.bias": (INNER,),
        "ssm_a": (INNER, STATE),
        "ssm_d": (INNER,),
        "ssm_out.weight": (WIDTH, INNER),
    }
    norms: Sizes = {
        "ssm_dt_norm.weight": (RANK,),
        "ssm_b_norm.weight": (STATE,),
        "ssm_c_norm.weight": (STATE,),
    }
    return sizes | norms if normed else sizes


def _mamba2() -> Sizes:
    convolved = INNER + 2 * GROUPS * STATE
    return {
        "attn_norm.weight": (WIDTH,),
        "ssm_in.weight": (INNER + convolved + RANK, WIDTH),
        "ssm_conv1d.weight": (convolved, CONV),
        "ssm_conv1d.bias": (convolved,),
        "ssm_dt.bias": (RANK,),
        "ssm_a": (RANK, 1),
        "ssm_d": (RANK, 1),
        "ssm_norm.weight": (GROUPS, INNER // GROUPS),
        "ssm_out.weight": (WIDTH, INNER),
    }


def _short_convolution() -> Sizes:
    return {
        "attn_norm.weight": (WIDTH,),
        "shortconv.conv.weight": (WIDTH, CONV),
        "shortconv.in_proj.weight": (3 * WIDTH, WIDTH),
        "shortconv.out_proj.weight": (WIDTH, WIDTH),
    }


def _delta_net() -> Sizes:
    key, value = STATE * GROUPS, STATE * RANK
    return {
        "attn_norm.weight": (WIDTH,),
        "attn_qkv.weight": (2 * key + value, WIDTH),
        "attn_gate.weight": (value, WIDTH),
        "ssm_conv1d.weight": (2 * key + value, CONV),
        "ssm_dt.bias": (RANK,),
        "ssm_a": (RANK,),
        "ssm_ba.weight": (2 * RANK, WIDTH),
        "ssm_norm.weight": (STATE,),
        "ssm_out.weight": (WIDTH, value),
    }


def _experts() -> Sizes:
    return {
        "post_attention_norm.weight": (WIDTH,),
        "ffn_gate_inp.weight": (EXPERTS, WIDTH),
        "ffn_gate_exps.weight": (EXPERTS, FEED_FORWARD, WIDTH),
        "ffn_up_exps.weight": (EXPERTS, FEED_FORWARD, WIDTH),
        "ffn_down_exps.weight": (EXPERTS, WIDTH, FEED_FORWARD),
        "ffn_gate_inp_shexp.weight": (WIDTH,),
        "ffn_gate_shexp.weight": (FEED_FORWARD, WIDTH),
        "ffn_up_shexp.weight": (FEED_FORWARD, WIDTH),
        "ffn_down_shexp.weight": (WIDTH, FEED_FORWARD),
    }


def _gemma() -> Sizes:
    posts: Sizes = {"post_attention_norm.weight": (WIDTH,), "post_ffw_norm.weight": (WIDTH,)}
    return _attention(normed=True) | posts | _feed_forward()


def _lfm2(number: int) -> Sizes:
    return (_attention(normed=True) if _attends(number) else _short_convolution()) | _feed_forward()


def _qwen3next(number: int) -> Sizes:
    gated_query = {"attn_q.weight": (2 * WIDTH, WIDTH)}
    return (_attention(normed=True) | gated_query if number % 2 else _delta_net()) | _experts()


def _attends(number: int) -> bool:
    """Whether a layer of a hybrid has attention: every second."""
    return number % 2 == 1


def _add_attention(writer: gguf.GGUFWriter) -> None:
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(10_000.0)


def _add_window(writer: gguf.GGUFWriter) -> None:
    _add_attention(writer)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_sliding_window(WINDOW)
    writer.add_sliding_window_pattern([True, True, True, False])


def _add_state(writer: gguf.GGUFWriter, groups: int | None = None) -> None:
    writer.add_ssm_conv_kernel(CONV)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    if groups is not None:
        writer.add_ssm_group_count(groups)


def _add_recurrent(writer: gguf.GGUFWriter, groups: int | None = None) -> None:
    """Write what converters write for Mamba: it has neither heads nor a feed-forward part."""
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    _add_state(writer, groups)


def _add_hybrid(writer: gguf.GGUFWriter, groups: int | None = None) -> None:
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv([KV_HEADS if _attends(number) else 0 for number in range(LAYERS)])
    writer.add_rope_dimension_count(HEAD)
    _add_state(writer, groups)


def _add_lfm2(writer: gguf.GGUFWriter) -> None:
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv([KV_HEADS if _attends(number) else 0 for number in range(LAYERS)])
    writer.add_rope_freq_base(10_000.0)
    writer.add_shortconv_l_cache(CONV)


def _add_lfm2_window(writer: gguf.GGUFWriter) -> None:
    _add_lfm2(writer)
    writer.add_sliding_window(WINDOW)


def _add_falcon_h1(writer: gguf.GGUFWriter) -> None:
    _add_attention(writer)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    _add_state(writer, GROUPS)


def _add_qwen3next(writer: gguf.GGUFWriter) -> None:
    _add_attention(writer)
    writer.add_full_attention_interval(2)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(EXPERTS)
    writer.add_expert_feed_forward_length(FEED_FORWARD)
    writer.add_expert_shared_feed_forward_length(FEED_FORWARD)
    writer.add_ssm_conv_kernel(CONV)
    writer.add_ssm_inner_size(STATE * RANK)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_ssm_group_count(GROUPS)


FAMILIES = {
    "llama": Family("llama", lambda _: _attention() | _feed_forward(), _add_attention),
    "gemma3": Family("gemma3", lambda _: _gemma(), _add_window),
    "mamba": Family("mamba", lambda _: _mamba(), _add_recurrent),
    "mamba2": Family("mamba2", lambda _: _mamba2(), lambda writer: _add_recurrent(writer, GROUPS)),
    "jamba": Family(
        "jamba",
        lambda number: (_attention() if _attends(number) else _mamba(normed=True)) | _feed_forward(),
        _add_hybrid,
    ),
    "lfm2": Family("lfm2", _lfm2, _add_lfm2),
    "lfm2-window": Family("lfm2", _lfm2, _add_lfm2_window),
    "granite-h": Family(
        "granitehybrid",
        lambda number: (_attention() if _attends(number) else _mamba2()) | _feed_forward(),
        lambda writer: _add_hybrid(writer, GROUPS),
    ),
    "falcon-h1": Family(
        "falcon-h1", lambda _: _mamba2() | _attention() | _feed_forward("ffn_norm"), _add_falcon_h1
    ),
    "qwen3next": Family("qwen3next", _qwen3next, _add_qwen3next),
}
