"""What is exported: a model's folder, or a run of `lmcot train` with the model it was based on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmcot_cli.backends.torch.library import OWN_CODE_REFUSED
from lmcot_cli.backends.torch.unpacked import is_gguf, unpacked
from lmcot_cli.errors import InputError, ModelError, UsageError
from lmcot_cli.files import read_object
from lmcot_cli.model_files.digests import weights_digest
from lmcot_cli.model_files.folder import check_adapter_folder, check_model_folder
from lmcot_cli.model_files.places import check_folder
from lmcot_cli.models.hub import cached_model

RUN_FILE = "run.json"
RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class ExportSource:
    """A full-precision model, and the adapter to put on it.

    Attributes:
        name: What the exported files are called.
        model: The folder of the model, or of the adapter's base.
        adapter: The folder of a LoRA adapter that peft saved; None for a model by itself.
        output: Where exported files go unless the user says otherwise.
    """

    name: str
    model: Path
    adapter: Path | None
    output: Path

    def check(self) -> None:
        """Refuse files that must not be opened, before anything opens them; see `lmcot_cli.model_files`.

        Raises:
            ModelError: Names the file.
        """
        check_model_folder(self.model, OWN_CODE_REFUSED)
        if self.adapter:
            check_adapter_folder(self.adapter)


def find_source(path: Path | None) -> ExportSource:
    """Return what a path stands for; without one, the newest run under `./runs`.

    Raises:
        UsageError: There is no run to take.
        ModelError: The folder is neither a model nor a run, or a run whose base has been changed since.
        InputError: The run's `run.json` is damaged.
    """
    folder = path or newest_run(RUNS)
    if (folder / RUN_FILE).is_file():
        return _of_run(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; name a model's folder or a run that `lmcot train` wrote")
    if (folder / "adapter_config.json").is_file():
        base = read_object(folder / "adapter_config.json", InputError).get("base_model_name_or_path")
        return ExportSource(_name(folder), _find_base(folder, base), folder, folder / "export")
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder}: has no config.json; name a model's folder (config.json, *.safetensors, tokenizer files) or a"
            " run that `lmcot train` wrote"
        )
    return ExportSource(_name(folder), folder, None, Path(f"{_name(folder)}-export"))


def newest_run(runs: Path) -> Path:
    """Return the run that ended last (or, where it does not say, was written last).

    Raises:
        UsageError: There is none.
    """
    found = [path.parent for path in runs.glob(f"*/{RUN_FILE}")]
    if not found:
        raise UsageError(f"there is no run in ./{runs}; name one, or a model's folder: lmcot export FOLDER")
    return max(found, key=lambda folder: (folder / RUN_FILE).stat().st_mtime)


def _of_run(folder: Path) -> ExportSource:
    run = read_object(folder / RUN_FILE, InputError)
    if run.get("adapter"):
        base, adapter = _find_base(folder, run.get("base")), check_folder(folder, str(run["adapter"]))
        if run.get("base_digest") not in (None, weights_digest(base)):
            raise ModelError(
                f"{folder}: was trained on other weights than {base} holds now; put those back, or train it anew"
            )
        return ExportSource(_name(folder), base, adapter, folder / "export")
    if (folder / "model" / "config.json").is_file():
        return ExportSource(_name(folder), check_folder(folder, "model"), None, folder / "export")
    raise ModelError(f"{folder}: the run has neither an adapter nor a model yet; let it end, or resume it")


def _find_base(folder: Path, base: Any) -> Path:
    """Return the folder of a base model: as it is written, from the run's folder, or from the hub's local cache."""
    if not isinstance(base, str) or not base:
        raise ModelError(f"{folder}: does not say which model it is based on")
    if is_gguf(base):
        return unpacked(Path(base))
    for place in (Path(base), folder / base):
        if (place / "config.json").is_file():
            return place
    if Path(base).is_absolute() or base.startswith(".") or base.count("/") != 1:
        raise ModelError(f"{base}: is not there any more, but {folder} is based on it; put the model back")
    return cached_model(base, folder)


def _name(folder: Path) -> str:
    return folder.resolve().name
