"""Check a model's or an adapter's folder before transformers, peft or optimum open it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object
from lmcot_cli.model_files.places import check_file
from lmcot_cli.model_files.safetensors_header import StoredTensor
from lmcot_cli.model_files.settings import (
    ADAPTER_CONFIG,
    CONFIG,
    check_adapter_config,
    check_config,
    check_tokenizer_config,
)
from lmcot_cli.model_files.weights import (
    ADAPTER_WEIGHTS,
    MODEL_INDEX,
    indexed_files,
    read_tensors,
    weight_files,
)

LOADED = (
    "*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.onnx", "*.onnx_data",
    "*.spm", "*.tiktoken", "*.codes", "*.tokenizer", "additional_chat_templates/*.jinja",
)  # fmt: skip
"""The files of a folder that libraries load, except weights that an index or a graph names."""

CODE = ("*.py", "custom_generate/*")
"""Further files that are loaded where a model's own code may run."""

GENERATE = "custom_generate"
_PICKLED_TOKENIZERS = ("vocab.pkl", "vocab.bin")


def check_model_folder(folder: Path, code_refused: str | None = None) -> dict[str, StoredTensor]:
    """Refuse a folder that makes a library unpickle, run or allocate something, or that leads elsewhere.

    Args:
        folder: A folder with config.json.
        code_refused: The message for a model that brings code of its own; None if the code may run.

    Returns:
        The tensors of its weights by their names.

    Raises:
        ModelError: Names the file.
    """
    _check_files(folder, code_refused)
    tensors = read_tensors(weight_files(folder))
    if not tensors:
        raise ModelError(
            f"{folder}: has no .safetensors weights: its files hold no tensor; fetch or save it anew"
        )
    check_config(check_file(folder, CONFIG), tensors)
    if (folder / ADAPTER_CONFIG).exists():
        raise ModelError(
            f"{folder / ADAPTER_CONFIG}: transformers would load the model that this adapter names instead of the one"
            f" beside it; move the adapter to a folder of its own, and write BASE+ADAPTER"
        )
    return tensors


def check_settings_folder(folder: Path, code_refused: str | None = None) -> None:
    """Refuse, like `check_model_folder`, a folder whose settings and tokenizer are loaded, but no weights.

    Raises:
        ModelError: Names the file.
    """
    _check_files(folder, code_refused)
    if (folder / CONFIG).exists():
        check_config(check_file(folder, CONFIG), None)


def check_adapter_folder(folder: Path) -> dict[str, StoredTensor]:
    """Refuse an adapter that makes peft unpickle, import or fetch something, or that leads elsewhere.

    Returns:
        The tensors of its weights by their names.

    Raises:
        ModelError: Names the file.
    """
    _check_files(folder, None)
    tensors = read_tensors(weight_files(folder, ADAPTER_WEIGHTS))
    check_adapter_config(check_file(folder, ADAPTER_CONFIG), tensors)
    return tensors


def loaded_files(folder: Path) -> list[Path]:
    """Return all files of a folder that a library may load, in the order of their paths.

    Raises:
        ModelError: One of them is not a file, or lies elsewhere.
    """
    return [check_file(folder, name) for name in sorted(_names(folder))]


def _names(folder: Path) -> Iterator[str]:
    found = {
        path.relative_to(folder).as_posix()
        for pattern in (*LOADED, *CODE)
        for path in folder.glob(pattern)
        if not path.is_dir()
    }
    if MODEL_INDEX in found:
        found.update(indexed_files(check_file(folder, MODEL_INDEX)))
    yield from found


def _check_files(folder: Path, code_refused: str | None) -> None:
    """Check the place and kind of each file that may be loaded, and the settings other than the model's."""
    if code_refused and (folder / GENERATE).exists():
        raise ModelError(f"{folder}: cannot be loaded: {code_refused} ({GENERATE})")
    for name in _PICKLED_TOKENIZERS:
        if (folder / name).exists():
            raise ModelError(f"{folder / name}: is a pickled vocabulary, and no pickle is loaded; remove it")
    for pattern in LOADED:
        for path in sorted(folder.glob(pattern)):
            check_file(folder, path.relative_to(folder).as_posix())
    for name in ("generation_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            read_object(folder / name)
    check_tokenizer_config(folder)
