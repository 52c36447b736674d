"""The folders of a transformers model: one with the weights, and one with a LoRA adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmcot_cli.backends.torch.unpacked import is_gguf, unpacked
from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object
from lmcot_cli.model_files.digests import WEIGHTS, folders_digest
from lmcot_cli.model_files.folder import check_adapter_folder, check_model_folder, check_settings_folder
from lmcot_cli.model_files.onnx_graphs import graph_files
from lmcot_cli.model_files.places import check_folder
from lmcot_cli.model_files.settings import ADAPTER_CONFIG, CONFIG
from lmcot_cli.model_files.weights import MODEL_INDEX, MODEL_WEIGHTS
from lmcot_cli.models import hub

SCHEME = "transformers:"
ONNX_SCHEME = "onnx:"
RUN = "run.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The folders to load.

    Attributes:
        base: The folder with `config.json`, the weights and the tokenizer.
        adapter: The folder with `adapter_config.json` and the adapter's weights; None for a model without one.
        graphs: Whether ONNX graphs replace the weights.
    """

    base: Path
    adapter: Path | None = None
    graphs: bool = False

    def check(self, code_refused: str | None) -> None:
        """Refuse files that must not be opened, before a library opens them; see `model_files`.

        Args:
            code_refused: The message for a model that brings code of its own; None if the code may run.

        Raises:
            ModelError: Names the file.
        """
        if self.graphs:
            check_settings_folder(self.base, code_refused)
            graph_files(self.base)
        else:
            check_model_folder(self.base, code_refused)
        if self.adapter:
            check_adapter_folder(self.adapter)

    def digest(self) -> str:
        """Return one SHA-256 (`sha256:...`) over the model's files (in seconds for a large one)."""
        folders = [folder for folder in (self.base, self.adapter) if folder]
        return folders_digest(folders, graphs=self.graphs)


def holds_transformers_model(folder: Path) -> bool:
    """Return whether a folder is a model, an adapter or a training run that the transformers backend opens."""
    return any((folder / name).is_file() for name in (CONFIG, ADAPTER_CONFIG, RUN))


def holds_onnx_model(folder: Path) -> bool:
    """Return whether a folder has exported graphs and no weights for torch."""
    return (folder / CONFIG).is_file() and any(folder.glob("*.onnx")) and not any(folder.glob(WEIGHTS))


def check_onnx_folder(folder: Path) -> None:
    """Check that a folder has the files of an exported model.

    Raises:
        ModelError: It does not.
    """
    if not any(folder.glob("*.onnx")):
        raise ModelError(f"{folder}: has no *.onnx file; name a folder that lmcot export --format onnx wrote")
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder}: has no {CONFIG}; export the model again")


def find(name: str, *, remote_code: bool = False) -> Checkpoint:
    """Return the folders of `FOLDER` or `ORG/REPO`, either with an optional `+ADAPTER`.

    A folder may hold a model or a LoRA adapter (which names its base), or be one that `lmcot train` wrote. What the
    name itself names on the hub is downloaded; a base that only an adapter or a run names must be on the disk.

    Args:
        name: The spec without its scheme.
        remote_code: Whether to download the repository's Python files, too.

    Raises:
        ModelError: There is no such model, or it is incomplete.
    """
    base, plus, adapter = name.rpartition("+")
    if plus and not Path(name).exists():
        return Checkpoint(_checked_model(_folder(base, remote_code)), _adapter_folder(adapter, remote_code))
    folder = _folder(name, remote_code)
    if (folder / RUN).is_file():
        return _of_run(folder)
    if (folder / ADAPTER_CONFIG).is_file() and not _holds_weights(folder):
        stated = read_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
        return Checkpoint(_base_of(stated, folder / ADAPTER_CONFIG), folder)
    return Checkpoint(_checked_model(folder))


def _of_run(folder: Path) -> Checkpoint:
    record = read_object(folder / RUN)
    if record.get("adapter") is None:
        return Checkpoint(_checked_model(check_folder(folder, "model")))
    base = _base_of(record.get("base"), folder / RUN)
    return Checkpoint(base, _checked_adapter(check_folder(folder, str(record["adapter"]))))


def _holds_weights(folder: Path) -> bool:
    """Return whether a folder has a model's own weights, beside an adapter's."""
    return any((folder / name).exists() for name in (MODEL_WEIGHTS, MODEL_INDEX))


def _base_of(stated: object, place: Path) -> Path:
    """Return the folder of a base that an adapter or a run names; whoever wrote that must not cause a download."""
    if not isinstance(stated, str) or not stated:
        raise ModelError(f"{place}: names no base model; write {SCHEME}BASE+{place.parent}")
    path = Path(stated)
    if is_gguf(path):
        return unpacked(path)
    return _checked_model(path if path.is_dir() else hub.cached_model(stated, place))


def _adapter_folder(name: str, remote_code: bool) -> Path:
    folder = _folder(name, remote_code)
    if (folder / RUN).is_file():
        folder = check_folder(folder, str(read_object(folder / RUN).get("adapter")))
    return _checked_adapter(folder)


def _folder(name: str, remote_code: bool) -> Path:
    path = Path(name)
    if is_gguf(path):
        return unpacked(path)
    return path if path.is_dir() else hub.download_model(name, remote_code=remote_code)


def _checked_model(folder: Path) -> Path:
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder}: has no {CONFIG}; name a folder that save_pretrained wrote, or a run")
    read_object(folder / CONFIG)
    return folder


def _checked_adapter(folder: Path) -> Path:
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(f"{folder}: has no {ADAPTER_CONFIG}; name the folder of a LoRA adapter")
    return folder
