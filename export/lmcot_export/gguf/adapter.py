"""Write a LoRA adapter as GGUF, for llama.cpp to add to any quantization of its base while it runs."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from lmcot_cli.errors import ModelError
from lmcot_cli.files import replacing
from lmcot_export.gguf.config import ModelConfig
from lmcot_export.gguf.families import Array, Family, family_of
from lmcot_export.lora import LoraAdapter, LowRank


def write_adapter(base: Path, adapter: Path, path: Path, *, name: str) -> Path:
    """Write an adapter's low-rank matrices, and return `path`.

    llama.cpp scales by alpha / rank, one alpha for all, so that whatever else goes into a matrix's scale
    (rank-stabilized LoRA, patterns) is multiplied into its B.

    Args:
        base: The folder of the model it was trained on (for its shape; weights are not read).
        adapter: The folder that peft saved.
        path: The file, replaced when it is complete.
        name: What the file calls the adapter.

    Raises:
        ModelError: The adapter brings whole tensors, which llama.cpp cannot add, or changes what has no place.
    """
    config, lora = ModelConfig(base), LoraAdapter(adapter)
    family = family_of(config)
    _check(lora, adapter)
    alpha = float(lora.config.get("lora_alpha") or 1)
    with replacing(path) as temporary:
        writer = gguf.GGUFWriter(temporary, gguf.MODEL_ARCH_NAMES[family.architecture])
        try:
            _add_tensors(writer, lora, config, family, alpha)
            writer.add_type(gguf.GGUFType.ADAPTER)
            writer.add_name(name)
            writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
            writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
            writer.add_file_type(gguf.LlamaFileType.ALL_F32)
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return path


def _check(lora: LoraAdapter, adapter: Path) -> None:
    if lora.replaced:
        raise ModelError(
            f"{adapter}: trained whole tensors ({next(iter(lora.replaced))}), which llama.cpp cannot add while it runs;"
            " merge it instead: leave out --adapter-only"
        )
    if not lora.low_rank:
        raise ModelError(f"{adapter}: has no low-rank matrices")


def _add_tensors(
    writer: gguf.GGUFWriter, lora: LoraAdapter, config: ModelConfig, family: Family, alpha: float
) -> None:
    names = gguf.get_tensor_name_map(family.architecture, config.layers)
    for name, change in lora.low_rank.items():
        target = names.get_name(name, try_suffixes=(".weight",))
        if target is None:
            raise ModelError(f"{lora.folder}: {config.architecture} has no place for a change of {name}")
        if change.transposed and target.startswith("token_embd"):
            raise ModelError(
                f"{lora.folder}: changes the embeddings; merge it instead: leave out --adapter-only"
            )
        rank = change.a.shape[0]
        b = change.b * np.float32(change.scale / (alpha / rank))
        writer.add_tensor(f"{target}.lora_a", np.ascontiguousarray(change.a))
        writer.add_tensor(f"{target}.lora_b", np.ascontiguousarray(_turned(b, name, change, config, family)))


def _turned(b: Array, name: str, change: LowRank, config: ModelConfig, family: Family) -> Array:
    """Reorder the rows of B as the rows of the weight itself are; A holds inputs, whose order stays."""
    transform = family.transform(name, config)
    if (
        transform is None or change.transposed
    ):  # Conv1D is stored the other way round, but B has outputs in rows
        return b
    return transform(b)
