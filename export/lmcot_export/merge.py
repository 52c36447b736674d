"""Merge a LoRA adapter into the full-precision model it was trained on, by peft."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.torch.checkpoint import Checkpoint
from lmcot_cli.backends.torch.library import loading
from lmcot_cli.backends.torch.loading import load_config, load_model
from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object, replacing_folder, write_json
from lmcot_export.lora import WEIGHTS, check_stands_alone
from lmcot_export.weights import SafetensorsFolder

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""Files that say how a model reads and writes text."""

GENERATION = "generation_config.json"
_EMBEDDINGS = ("embed_tokens", "wte", "lm_head", "shared")


def merge(base: Path, adapter: Path, target: Path) -> Path:
    """Write the merged model as a Hugging Face folder, in float32.

    The tokenizer is the adapter's where it brings one (it may have added tokens), else the base's.

    Args:
        base: A full-precision model's folder.
        adapter: An adapter's folder.
        target: The folder to write, replaced if it exists.

    Returns:
        `target`.

    Raises:
        ModelError: The base is quantized, or the two do not fit together.
        OutputError: The folder cannot be written.
    """
    if read_object(base / "config.json").get("quantization_config"):
        raise ModelError(
            f"{base}: its weights are quantized, and an adapter is merged into full-precision weights only; merge into"
            " the model it was quantized from, or export the adapter by itself with --adapter-only"
        )
    check_stands_alone(adapter)
    merged = _merged(base, adapter)
    with replacing_folder(target) as folder:
        merged.save_pretrained(folder, safe_serialization=True)
        _copy_texts(base, adapter, folder)
    return target


def tokenizer_folder(base: Path, adapter: Path) -> Path:
    """Return the adapter's folder if it brings a tokenizer, else the base's."""
    has_own = any((adapter / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    return adapter if has_own else base


def _merged(base: Path, adapter: Path) -> Any:
    options = EngineOptions(device="cpu", dtype="float32")
    checkpoint = Checkpoint(base)
    model = load_model(checkpoint, load_config(checkpoint, options), options)
    weights = SafetensorsFolder(adapter, single=WEIGHTS)
    with loading(adapter):
        _make_room(model, weights)
        adapted = _adapted(model, adapter)
        _check_all_used(adapted, adapter, weights.names)
        return adapted.merge_and_unload(safe_merge=True)


def _adapted(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, adapter)
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise ModelError(
            f"{adapter}: has other shapes than its base model's weights: it was trained on another model"
        ) from error


def _make_room(model: Any, weights: SafetensorsFolder) -> None:
    """Give the model as many embeddings as the adapter trained, and an output of its own if one of the two changes.

    peft adds to tied weights where they lie, so that a change of the input's would change the output's too.
    """
    import torch

    trained = [name for name in weights.names if any(part in name.split(".") for part in _EMBEDDINGS)]
    rows = {weights.shape(name)[0] for name in trained if "lora_" not in name}
    if rows and max(rows) != model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(max(rows), mean_resizing=False)
    if trained and model.config.tie_word_embeddings:
        output = model.get_output_embeddings()
        output.weight = torch.nn.Parameter(output.weight.detach().clone())
        model.config.tie_word_embeddings = False


def _check_all_used(adapted: Any, adapter: Path, names: Collection[str]) -> None:
    """Refuse an adapter of which peft leaves something out."""
    from peft import get_peft_model_state_dict

    used = get_peft_model_state_dict(adapted, save_embedding_layers=True)
    if unknown := sorted(set(names) - set(used)):
        raise ModelError(f"{adapter}: changes {unknown[0]}, which its base model does not have")


def _copy_texts(base: Path, adapter: Path, target: Path) -> None:
    """Copy the tokenizer's files, and the base's generation defaults with what training made of them."""
    texts = tokenizer_folder(base, adapter)
    for name in TOKENIZER_FILES:
        if (texts / name).is_file():
            shutil.copyfile(texts / name, target / name)
    stated = [folder / GENERATION for folder in (base, adapter) if (folder / GENERATION).is_file()]
    if stated:
        write_json(target / GENERATION, {k: v for path in stated for k, v in read_object(path).items()})
