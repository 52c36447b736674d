"""Rotary positions and their scaling, from both forms in which transformers writes them.

Before version 5: `rope_theta` and `rope_scaling` on the config. Since: one `rope_parameters`, which for models with
sliding-window layers has a part for each kind of layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from lmcot_export.gguf.config import ModelConfig

DEFAULT_BASE = 10_000.0


def parameters(config: ModelConfig, layers: str = "full_attention") -> dict[str, Any]:
    """Return the rotary parameters of one kind of layers, in the new form.

    Args:
        config: The model's settings.
        layers: `full_attention` or `sliding_attention`.
    """
    new = config.get("rope_parameters")
    if new:
        chosen = dict(new.get(layers, new))
    elif layers == "sliding_attention":
        chosen = {"rope_theta": config.get("rope_local_base_freq", DEFAULT_BASE)}
    else:
        chosen = {"rope_theta": config.get("rope_theta", DEFAULT_BASE), **config.get("rope_scaling", {})}
    chosen["rope_type"] = str(chosen.get("rope_type", chosen.get("type", "default"))).lower()
    return chosen


def describe(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    """Write base and scaling of the rotary positions.

    Raises:
        ModelError: A kind of scaling that llama.cpp does not compute as transformers does.
    """
    rope = parameters(config)
    config.require("partial_rotary_factor", 1, 1.0)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    match rope["rope_type"]:
        case "default" | "llama3":
            pass  # llama3's factors are a tensor
        case "dynamic":
            pass  # takes effect beyond max_position_embeddings only, which is what the file says the context is
        case "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(float(rope["factor"]))
        case "yarn":
            _describe_yarn(writer, config, rope)
        case other:
            config.refuse(f"rope scaling {other!r} has no equal in llama.cpp")


def frequency_factors(config: ModelConfig) -> NDArray[np.float32] | None:
    """Return Llama 3's divisors of the rotary frequencies [head width / 2]; None for other scalings.

    As in `_compute_llama3_parameters` of transformers: long wavelengths are divided by `factor`, short ones stay, the
    band between is interpolated. Frequencies and wavelengths are float32, as there.
    """
    rope = parameters(config)
    if rope["rope_type"] != "llama3":
        return None
    width, base = config.head_width, float(rope["rope_theta"])
    factor, original = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    wavelengths = np.float32(2 * math.pi) * np.power(np.float32(base), exponents)
    smooth = (original / wavelengths - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    factors = np.where(wavelengths > original / low, factor, between)
    return np.where(wavelengths < original / high, 1.0, factors).astype(np.float32)


def _describe_yarn(writer: gguf.GGUFWriter, config: ModelConfig, rope: Mapping[str, Any]) -> None:
    factor = float(rope["factor"])
    if not rope.get("truncate", True):
        config.refuse("YaRN without truncation (truncate: false) has no equal in llama.cpp")
    for name, default in (("beta_fast", 32), ("beta_slow", 1)):
        if (rope.get(name) or default) != default:  # there are keys for them, which llama.cpp does not read
            config.refuse(f"llama.cpp computes YaRN with {name} {default} only, not {rope[name]}")
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(factor)
    original = rope.get("original_max_position_embeddings") or config.integer("max_position_embeddings")
    writer.add_rope_scaling_orig_ctx_len(int(original))
    # llama.cpp multiplies by the default attention factor always; what differs from it goes on top.
    extra = _yarn_attention(rope, factor) / _yarn_magnitude(factor)
    if not math.isclose(extra, 1.0):
        writer.add_rope_scaling_attn_factors(extra)


def _yarn_attention(rope: Mapping[str, Any], factor: float) -> float:
    """Return the factor of cosine and sine (YaRN, arXiv 2309.00071, section 3.4), as transformers infers it."""
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return _yarn_magnitude(factor, rope["mscale"]) / _yarn_magnitude(factor, rope["mscale_all_dim"])
    return _yarn_magnitude(factor)


def _yarn_magnitude(factor: float, scale: float = 1.0) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0
