"""Which folders a spec of a transformers model names: one with the weights, and one with a LoRA adapter."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmcot_cli.backends.torch.unpacked import is_gguf, unpacked
from lmcot_cli.errors import ModelError
from lmcot_cli.models import hub

SCHEME = "transformers:"
ONNX_SCHEME = "onnx:"
CONFIG, ADAPTER_CONFIG, RUN = "config.json", "adapter_config.json", "run.json"
WEIGHTS = "*.safetensors"
_DIGESTED = ("*.safetensors", "*.onnx", "*.onnx_data", "*.json", "*.jinja", "*.model", "*.txt", "*.py")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is loaded.

    Attributes:
        base: Folder with `config.json`, the weights and the tokenizer.
        adapter: Folder with `adapter_config.json` and the adapter's weights; None for a model without one.
    """

    base: Path
    adapter: Path | None = None

    def digest(self) -> str:
        """Return one SHA-256 (`sha256:...`) over the files that make up the model (seconds for a large one)."""
        total = hashlib.sha256()
        for folder in (self.base, self.adapter):
            for path in _files(folder) if folder else ():
                with path.open("rb") as file:
                    total.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        return f"sha256:{total.hexdigest()}"


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 (`sha256:...`) over the weight files of a model folder, names and bytes."""
    total = hashlib.sha256()
    for path in sorted(folder.glob(WEIGHTS)):
        with path.open("rb") as file:
            total.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return f"sha256:{total.hexdigest()}"


def holds_transformers_model(folder: Path) -> bool:
    """Whether a folder is a model, an adapter or a training run that the transformers backend opens."""
    return any((folder / name).is_file() for name in (CONFIG, ADAPTER_CONFIG, RUN))


def holds_onnx_model(folder: Path) -> bool:
    """Whether a folder has exported graphs and no weights for torch."""
    return (folder / CONFIG).is_file() and any(folder.glob("*.onnx")) and not any(folder.glob(WEIGHTS))


def check_onnx_folder(folder: Path) -> None:
    """Look for the files of an exported model.

    Raises:
        ModelError: They are not there.
    """
    if not any(folder.glob("*.onnx")):
        raise ModelError(f"{folder}: has no *.onnx file; name a folder that lmcot export --format onnx wrote")
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder}: has no {CONFIG}; export the model again")


def find(name: str, *, remote_code: bool = False) -> Checkpoint:
    """Find what `FOLDER`, `ORG/REPO`, or either with `+ADAPTER` behind it stands for.

    A folder may hold a model, a LoRA adapter (which names its base), or be one that `lmcot train` wrote. What is
    not on the disk is fetched from the hub.

    Args:
        name: The spec without its scheme.
        remote_code: Fetch the repository's Python files too.

    Raises:
        ModelError: There is no such model, or it is not complete.
    """
    base, plus, adapter = name.rpartition("+")
    if plus and not Path(name).exists():
        return Checkpoint(_model_folder(base, remote_code), _adapter_folder(adapter, remote_code))
    folder = _folder(name, remote_code)
    if (folder / RUN).is_file():
        return _of_run(folder, remote_code)
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / CONFIG).is_file():
        stated = _read(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
        return Checkpoint(_model_folder(_named(stated, folder / ADAPTER_CONFIG), remote_code), folder)
    return Checkpoint(_checked_model(folder))


def _of_run(folder: Path, remote_code: bool) -> Checkpoint:
    record = _read(folder / RUN)
    if record.get("adapter") is None:
        return Checkpoint(_checked_model(folder / "model"))
    base = _named(record.get("base"), folder / RUN)
    return Checkpoint(_model_folder(base, remote_code), _checked_adapter(folder / str(record["adapter"])))


def stated_base(name: str) -> str | None:
    """Return the model that a folder names as its base; None for a whole model, or where there is no folder."""
    folder = Path(name)
    for file, key in ((RUN, "base"), (ADAPTER_CONFIG, "base_model_name_or_path")):
        if os.path.isfile(folder / file):  # noqa: PTH113  (Path's own raises where a name is too long for a file)
            stated = _read(folder / file).get(key)
            return stated if isinstance(stated, str) and not (folder / CONFIG).is_file() else None
    return None


def _named(base: object, place: Path) -> str:
    if not isinstance(base, str) or not base:
        raise ModelError(f"{place}: names no base model; write {SCHEME}BASE+{place.parent}")
    return base


def _model_folder(name: str, remote_code: bool) -> Path:
    return _checked_model(_folder(name, remote_code))


def _adapter_folder(name: str, remote_code: bool) -> Path:
    folder = _folder(name, remote_code)
    if (folder / RUN).is_file():
        folder = folder / str(_read(folder / RUN).get("adapter"))
    return _checked_adapter(folder)


def _folder(name: str, remote_code: bool) -> Path:
    path = Path(name)
    if is_gguf(path):
        return unpacked(path)
    return path if path.is_dir() else hub.download_model(name, remote_code=remote_code)


def _checked_model(folder: Path) -> Path:
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder}: has no {CONFIG}; name a folder that save_pretrained wrote, or a run")
    _read(folder / CONFIG)
    return folder


def _checked_adapter(folder: Path) -> Path:
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(f"{folder}: has no {ADAPTER_CONFIG}; name the folder of a LoRA adapter")
    if not any(folder.glob(WEIGHTS)):
        raise ModelError(
            f"{folder}: has no {WEIGHTS} (pickled weights are not loaded); save the adapter again"
        )
    return folder


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not JSON ({error}); write the model again") from error
    if not isinstance(record, dict):
        raise ModelError(f"{path}: is not a JSON object; write the model again")
    return record


def _files(folder: Path) -> list[Path]:
    return sorted(path for pattern in _DIGESTED for path in folder.glob(pattern) if path.is_file())
