"""Whether a model's weights are those its `config.json` calls for: all of them, each in its shape."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf

from lmcot_cli.backends.torch.library import loading
from lmcot_cli.errors import ModelError
from lmcot_export.gguf.config import OWN_CODE, ModelConfig
from lmcot_export.gguf.families import FAMILIES
from lmcot_export.weights import SafetensorsFolder

_SIZES = (
    "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size", "n_embd", "n_head",
)  # fmt: skip


def check_weights(folder: Path) -> None:
    """Refuse a model with weights missing or of another shape; one whose architecture we do not write is not looked at.

    Only the headers of its weight files are read, and nothing of the size that `config.json` states is made.

    Raises:
        ModelError: The message names the first tensor that is missing or of another shape.
    """
    config = ModelConfig(folder)
    if config.architecture not in FAMILIES or config.get("quantization_config"):
        return
    weights = SafetensorsFolder(folder)
    if config.layers > len(weights.names):
        raise ModelError(
            f"{folder}: config.json has {config.layers} layers, the weights are {len(weights.names)} tensors;"
            " copy or download it again"
        )
    for size in _SIZES:
        if config.get(size) is not None:
            config.integer(size)
    names = gguf.get_tensor_name_map(FAMILIES[config.architecture].architecture, config.layers)
    stored = {_target(names, name): name for name in weights.names}
    for name, shape in _called_for(config).items():
        found = stored.get(_target(names, name))
        if found is None:
            raise ModelError(f"{folder}: its weights lack {name}; copy or download it again")
        if weights.shape(found) != shape:
            raise ModelError(
                f"{folder}: {found} has the shape {weights.shape(found)}, but config.json makes it {shape};"
                " copy or download it again"
            )


def _called_for(config: ModelConfig) -> Mapping[str, tuple[int, ...]]:
    """Return names and shapes of the tensors that transformers would load, in its order."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with loading(config.folder, OWN_CODE), torch.device("meta"):  # shapes without numbers
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(config.folder, local_files_only=True, trust_remote_code=False)
        )
    parameters = model.named_parameters(remove_duplicate=False)
    return {
        name: tuple(tensor.shape)
        for name, tensor in parameters
        if not (config.tied and name == "lm_head.weight")
    }


def _target(names: gguf.TensorNameMap, name: str) -> str:
    """Return what GGUF calls a tensor, for files name them with and without the model's prefix."""
    return names.get_name(name, try_suffixes=(".weight", ".bias")) or name
