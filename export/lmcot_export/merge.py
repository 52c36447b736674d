"""Merge a LoRA adapter into the full-precision model it was trained on, tensor by tensor."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path

from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object, replacing, write_json
from lmcot_export.lora import LoraAdapter, MergedWeights
from lmcot_export.weights import STORED, SafetensorsFolder, write_safetensors

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""Files that say how a model reads and writes text."""

GENERATION = "generation_config.json"


def merge(base: Path, adapter: Path, target: Path, advance: Callable[[int], None] = lambda _: None) -> Path:
    """Write the merged model as a Hugging Face folder.

    Changed weights are computed and stored in float32, the others stay as they are. The tokenizer is the adapter's
    where it brings one (it may have added tokens), else the base's.

    Args:
        base: A full-precision model's folder.
        adapter: An adapter's folder.
        target: The folder to write; made if it does not exist.
        advance: Called with the bytes of each part written.

    Returns:
        `target`.

    Raises:
        ModelError: The base is quantized, or the two do not fit together.
        OutputError: The folder cannot be written.
    """
    config = read_object(base / "config.json")
    if config.get("quantization_config"):
        raise ModelError(
            f"{base}: its weights are quantized, and an adapter is merged into full-precision weights only; merge into"
            " the model it was quantized from, or export the adapter by itself with --adapter-only"
        )
    target.mkdir(parents=True, exist_ok=True)
    merged = MergedWeights(SafetensorsFolder(base), LoraAdapter(adapter), tied=_is_tied(base))
    types = {name: merged.stored_type(name) for name in merged.names}
    write_safetensors(target / "model.safetensors", merged, types, advance)
    embeddings = next(name for name in merged.names if name.endswith(("embed_tokens.weight", "wte.weight")))
    config.pop("dtype", None)
    config |= {"vocab_size": merged.shape(embeddings)[0], "torch_dtype": "float32"}
    if merged.unties:
        config["tie_word_embeddings"] = False
    write_json(target / "config.json", config)
    _copy_texts(base, adapter, target)
    return target


def merged_bytes(base: Path, adapter: Path) -> int:
    """Return how many bytes `merge` writes, for a progress bar."""
    merged = MergedWeights(SafetensorsFolder(base), LoraAdapter(adapter), tied=_is_tied(base))
    return sum(prod(merged.shape(name)) * STORED[merged.stored_type(name)].itemsize for name in merged.names)


def tokenizer_folder(base: Path, adapter: Path) -> Path:
    """Return the adapter's folder if it brings a tokenizer, else the base's."""
    has_own = any((adapter / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    return adapter if has_own else base


def _is_tied(base: Path) -> bool:
    from lmcot_export.gguf.config import ModelConfig

    return ModelConfig(base).tied


def _copy_texts(base: Path, adapter: Path, target: Path) -> None:
    """Copy the tokenizer's files, and the base's generation defaults with what training made of them."""
    texts = tokenizer_folder(base, adapter)
    for name in (*TOKENIZER_FILES, GENERATION):
        (target / name).unlink(missing_ok=True)
    for name in TOKENIZER_FILES:
        if (texts / name).is_file():
            with replacing(target / name) as temporary:
                shutil.copyfile(texts / name, temporary)
    stated = [folder / GENERATION for folder in (base, adapter) if (folder / GENERATION).is_file()]
    if stated:
        write_json(target / GENERATION, {k: v for path in stated for k, v in read_object(path).items()})
