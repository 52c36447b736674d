"""What `config.json` and similar files may ask of the libraries that read them.

transformers follows these files further than a model needs: to other files, to kernels on the hub, to allocations of
any size. Whatever no current model needs is refused here first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object
from lmcot_cli.model_files.safetensors_header import StoredTensor

CONFIG, TOKENIZER_CONFIG, ADAPTER_CONFIG = "config.json", "tokenizer_config.json", "adapter_config.json"

LEADS_ELSEWHERE = ("configuration_files", "transformers_weights")
"""Settings of config.json that make transformers read other files than config.json and model.safetensors."""

ATTENTIONS = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")
"""Implementations of attention that need no compiled kernels from the hub."""

MERGEABLE = ("LORA", "ADALORA", "IA3", "LOHA", "LOKR")
"""Kinds of adapters that consist of weights; others name tokenizers, models or adapters that peft would fetch."""

MOST_LAYERS = 1 << 10
"""Maximum layers of a model whose weights are not known."""

LARGEST_SIZE = 1 << 16
"""Maximum width or count whatever the weights are; it may be larger only if a weight is as large."""

TABLED = ("flaubert", "marian", "pegasus", "roformer", "xlm")
"""Architectures for which transformers computes a table of positions in a Python loop."""

LARGEST_TABLE = 1 << 24
"""Maximum values of such a table: sixteen times the largest."""

LARGEST_NUMBER = 1 << 40
"""Maximum of any other setting: bases of rotary embeddings, positions, ids of tokens."""

_NO_SIZES = ("theta", "base", "position", "window", "length", "_len", "_id", "token", "seed", "max_", "scal", "factor",
             "ctx")  # fmt: skip
"""Parts of the names of numbers that are no sizes: they may be larger than any width."""


def check_config(path: Path, tensors: Mapping[str, StoredTensor] | None) -> dict[str, Any]:
    """Read config.json, and refuse settings that lead elsewhere or are too large for the weights.

    Args:
        path: The file.
        tensors: The weights that it describes; None where graphs contain them.

    Raises:
        ModelError: Names the setting.
    """
    config = read_object(path)
    for name in LEADS_ELSEWHERE:
        if config.get(name) is not None:
            raise _refusal(path, name, "it leads to other files than the model's own, which are not read")
    _check_kernels(path, config)
    _check_layers(path, config, len(tensors) if tensors is not None else MOST_LAYERS)
    check_sizes(path, config, tensors or {})
    _check_table(path, config)
    return config


def check_tokenizer_config(folder: Path) -> None:
    """Refuse a tokenizer that reads files outside its folder, or pickles.

    Raises:
        ModelError: Names the setting.
    """
    path = folder / TOKENIZER_CONFIG
    config = read_object(path) if path.is_file() else {}
    if config.get("fast_tokenizer_files") is not None:
        raise _refusal(path, "fast_tokenizer_files", "it leads to other files than tokenizer.json")
    for name, value in config.items():
        # The path of the map of special tokens is written, but never read.
        leads = name.endswith(("_file", "_spm", "_ckpt")) and name != "special_tokens_map_file"
        if leads and isinstance(value, str) and Path(value).name != value:
            raise _refusal(path, name, f"it leads out of the folder, to {value[:100]!r}; remove the setting")
    if str(config.get("tokenizer_class")).startswith("TransfoXL"):
        raise _refusal(path, "tokenizer_class", "its vocabulary is a pickle, and none is loaded")


def check_adapter_config(path: Path, tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    """Read an adapter's settings, and refuse those that make peft import modules, fetch models or make huge matrices.

    Raises:
        ModelError: Names the setting.
    """
    config = read_object(path)
    if config.get("peft_type") not in MERGEABLE:
        known = ", ".join(MERGEABLE)
        raise _refusal(path, "peft_type", f"no adapter of such a kind is loaded, only {known}; save it anew")
    for name in ("megatron_config", "layer_replication"):
        if config.get(name):
            raise _refusal(path, name, "adapters with it are not loaded; merge it with peft first")
    check_sizes(path, config, tensors)
    _check_ranks(path, config, tensors)
    return config


def check_sizes(path: Path, config: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> None:
    """Refuse numbers that are larger than any size in the weights: what they allocate could fill the memory.

    Raises:
        ModelError: Names the first.
    """
    widest = max((size for tensor in tensors.values() for size in tensor.shape), default=0)
    largest = max(widest, len(tensors), LARGEST_SIZE)
    for name, number in _numbers(config):
        free = any(part in name for part in _NO_SIZES)
        if abs(number) > (LARGEST_NUMBER if free else largest):
            raise _refusal(path, name, f"it is {number:.6g}, and no weight is wider than {widest}")


def _check_table(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a table of positions that would take for ever to compute."""
    if config.get("model_type") in TABLED:
        name = "max_position_embeddings"
        widths = [config.get(width) for width in ("d_model", "hidden_size", "embedding_size", "emb_dim")]
        widest = max((width for width in widths if isinstance(width, int)), default=1024)
        positions = config.get(name)
        if isinstance(positions, int) and positions * widest > LARGEST_TABLE:
            raise _refusal(
                path, name, f"a table of {positions} positions by {widest} would take for ever to compute"
            )


def _check_ranks(path: Path, config: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> None:
    """Refuse ranks that no stored matrix has: peft makes such matrices for every layer before it reads any."""
    ranks = [min(one.shape) for name, one in tensors.items() if "lora_" in name and len(one.shape) == 2]
    pattern = config.get("rank_pattern")
    stated = {"r": config.get("r"), **(pattern if isinstance(pattern, Mapping) else {})}
    for name, rank in stated.items():
        if ranks and isinstance(rank, int) and rank > max(ranks):
            raise _refusal(path, name, f"a rank of {rank}, and its matrices have {max(ranks)} at most")


def _check_kernels(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse attention whose code comes from the hub."""
    for name, value in _entries(config):
        if name.strip("_").startswith("attn_implementation"):
            named = value.values() if isinstance(value, Mapping) else [value]
            if not all(one is None or one in ATTENTIONS for one in named):
                raise _refusal(
                    path, name, f"{str(value)[:60]!r} may be code from the hub; remove the setting"
                )


def _check_layers(path: Path, config: Mapping[str, Any], tensors: int) -> None:
    """Refuse more layers than there can be weights for: building them would take for ever."""
    for name, number in _numbers(config):
        if "layer" in name and name != "max_window_layers" and number > tensors:
            raise _refusal(path, name, f"it names {number} layers, and there are {tensors} weights")


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int | float]]:
    for name, value in _entries(config):
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield name, number


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every setting with its value, including those of parts (a text_config) and of lists of parts."""
    for name, value in config.items():
        yield name, value
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping):
                yield from _entries(part)


def _refusal(path: Path, name: str, reason: str) -> ModelError:
    shown = name if name.isidentifier() else repr(name[:60])
    return ModelError(f"{path}: {shown}: {reason}; if the file is damaged, fetch or save it anew")
