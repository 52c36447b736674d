"""The files of a folder's weights: one, or those that an index names, in the safetensors format."""

from __future__ import annotations

from pathlib import Path

from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object
from lmcot_cli.model_files.places import check_file
from lmcot_cli.model_files.safetensors_header import StoredTensor, read_safetensors_header

MODEL_WEIGHTS = "model.safetensors"
MODEL_INDEX = "model.safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".msgpack", ".npy", ".npz")
"""Suffixes of weights that are or contain pickles, or belong to other libraries."""


def weight_files(folder: Path, single: str = MODEL_WEIGHTS) -> list[Path]:
    """Return the files of a model's or adapter's weights, all of them in the folder.

    Args:
        folder: The folder.
        single: The file with all weights where there is no index.

    Raises:
        ModelError: There are none, or some are not safetensors files or lie elsewhere.
    """
    index = folder / MODEL_INDEX
    # As in transformers, an index counts only where there is no single file.
    if single == MODEL_WEIGHTS and not (folder / single).exists() and index.exists():
        return [check_file(folder, name) for name in indexed_files(check_file(folder, MODEL_INDEX))]
    if not (folder / single).exists() and not (folder / single).is_symlink():
        raise ModelError(_no_weights(folder, single))
    return [check_file(folder, single)]


def indexed_files(index: Path) -> list[str]:
    """Return the names of the files that an index maps weights to, each once.

    Raises:
        ModelError: It is no index, or an index of other files than safetensors.
    """
    mapped = read_object(index).get("weight_map")
    if (
        not isinstance(mapped, dict)
        or not mapped
        or not all(isinstance(name, str) for name in mapped.values())
    ):
        raise ModelError(f"{index}: is no index of weights; fetch or save the model anew")
    names = list(dict.fromkeys(mapped.values()))
    for name in names:
        if not name.endswith(".safetensors"):
            raise ModelError(
                f"{index}: maps weights to {name!r}, which is no safetensors file: a pickle can run code when it is"
                " read, and none is; save the model with safe_serialization=True"
            )
    return names


def read_tensors(files: list[Path]) -> dict[str, StoredTensor]:
    """Return the tensors that the headers of several files state.

    Raises:
        ModelError: A header is damaged.
    """
    return {name: tensor for file in files for name, tensor in read_safetensors_header(file).items()}


def _no_weights(folder: Path, single: str) -> str:
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
    if pickled:
        return (
            f"{folder}: has no {single}, and no pickle is loaded ({pickled[0]}), for it can run code when it is read:"
            " save the model with save_pretrained(..., safe_serialization=True)"
        )
    return f"{folder}: has no .safetensors weights ({single}); fetch or save the model anew"
