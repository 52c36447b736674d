"""The state of transformers' trainers in plain files, and the check of a checkpoint before a trainer reads it.

The trainers keep the states of optimizer, schedule and generators as pickles. A run folder may come from anybody, so
nothing in it is unpickled here, not even by `torch.load`'s restricted unpickler. What is kept is

    CHECKPOINT/optimizer.safetensors    the moments of every weight that learns
    CHECKPOINT/optimizer.json           learning rates, and the state of their schedule
    CHECKPOINT/generators_0.json        the random generators of the first process, and so on
"""

from __future__ import annotations

import base64
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lmcot_cli.backends.torch.library import OWN_CODE_REFUSED
from lmcot_cli.errors import InputError, LmcotError, ModelError
from lmcot_cli.files import read_object
from lmcot_cli.model_files.folder import check_adapter_folder, check_model_folder
from lmcot_cli.model_files.places import check_file, check_folder
from lmcot_cli.model_files.safetensors_header import read_safetensors_header
from lmcot_cli.model_files.settings import ADAPTER_CONFIG
from lmcot_cli.model_files.weights import PICKLES

_MOMENTS, _RATES = "optimizer.safetensors", "optimizer.json"
_LEFT_OVER = "training_args.bin"
"""A file that transformers writes into each checkpoint and nothing reads."""


def moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as named tensors on the CPU."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": tensor.detach().cpu().clone()
        for index, kept in state.items()
        for name, tensor in kept.items()
    }


def load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore the state that `moments` returned; the optimizer's settings stay as they are."""
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


class PlainState:
    """A base class for a `Trainer`, which overrides the methods that keep and read its state."""

    args: Any
    optimizer: Any
    lr_scheduler: Any

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.args.should_save:
            return
        save_file(moments(self.optimizer), Path(output_dir, _MOMENTS))
        groups = self.optimizer.param_groups
        rates = [{name: float(group[name]) for name in _rates_of(group)} for group in groups]
        record = {"groups": rates, "schedule": _plain(self.lr_scheduler.state_dict())}
        Path(output_dir, _RATES).write_text(json.dumps(record), encoding="utf-8")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        record = json.loads(Path(checkpoint, _RATES).read_bytes())
        load_moments(self.optimizer, load_file(Path(checkpoint, _MOMENTS)))
        for group, rates in zip(self.optimizer.param_groups, record["groups"], strict=True):
            group.update({name: float(rates[name]) for name in _rates_of(group)})
        schedule = self.lr_scheduler.state_dict()
        kept = {name: record["schedule"][name] for name in _plain(schedule)}
        self.lr_scheduler.load_state_dict(schedule | kept)

    def _save_rng_state(self, output_dir: str) -> None:
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        kind, keys, *rest = np.random.get_state(legacy=True)
        state = {
            "python": random.getstate(),
            "numpy": [kind, np.asarray(keys).tolist(), *rest],
            "torch": _text(torch.random.get_rng_state()),
            "cuda": [_text(one) for one in torch.cuda.random.get_rng_state_all()],
        }
        (folder / self._generators()).write_text(json.dumps(state), encoding="utf-8")

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        state = json.loads(Path(checkpoint, self._generators()).read_bytes())
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, np.asarray(keys, np.uint32), *rest))
        torch.random.set_rng_state(_bytes(state["torch"]))
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.random.set_rng_state_all([_bytes(one) for one in state["cuda"]])

    def _save_scaler(self, output_dir: str) -> None:
        """Keep nothing: training in float32 or bfloat16 needs no scaler."""

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Read nothing, since nothing is kept."""

    def _generators(self) -> str:
        return f"generators_{self.args.process_index}.json"


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint; None where there is none.

    The trainer writes `trainer_state.json` last, so a checkpoint that was torn when a run was killed lacks it. A crash
    of the machine can tear any of its files.
    """
    whole = [path for path in folder.glob("checkpoint-*") if _is_whole(path)]
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """Return the step at which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def remove_torn_checkpoints(folder: Path) -> None:
    """Remove what a killed run, or a crash, left half written."""
    for path in folder.glob("checkpoint-*"):
        if not _is_whole(path):
            shutil.rmtree(path)


def checkpoint_to_resume(folder: Path) -> Path | None:
    """Return the newest whole checkpoint, once it is known to be safe to open; None where there is none.

    Raises:
        InputError: It holds a pickle, something damaged, or a link out of the run.
    """
    checkpoint = last_checkpoint(folder)
    if checkpoint:
        _check(checkpoint)
    return checkpoint


def _is_whole(path: Path) -> bool:
    try:
        for saved in path.iterdir():
            if not saved.is_dir():
                check_file(path, saved.name)
        json.loads((path / "trainer_state.json").read_bytes())
        for weights in path.glob("*.safetensors"):
            read_safetensors_header(weights)  # says how long the file must be
        for settings in path.glob("*.json"):
            json.loads(settings.read_bytes())
    except (OSError, ValueError, RecursionError, ModelError):
        return False
    return True


def _check(checkpoint: Path) -> None:
    try:
        check_folder(checkpoint.parent.parent, checkpoint.parent.name)
        check_folder(checkpoint.parent, checkpoint.name)
        _check_files(checkpoint)
        best = read_object(checkpoint / "trainer_state.json").get("best_model_checkpoint")
        if isinstance(best, str) and Path(best).is_dir():
            if Path(best).resolve().parent != checkpoint.parent.resolve():
                raise InputError(
                    f"{checkpoint / 'trainer_state.json'}: names {best!r} as the best, outside the run"
                )
            _check_files(Path(best))
    except LmcotError as error:
        raise InputError(
            f"{error}: delete {checkpoint} to continue from the checkpoint before it, or from the start if there is"
            " none; or start anew with --overwrite"
        ) from error


def _check_files(checkpoint: Path) -> None:
    for path in sorted(checkpoint.iterdir()):
        if path.name == _LEFT_OVER:
            continue
        if path.suffix in PICKLES:
            raise InputError(
                f"{path}: is a pickle, in which earlier versions kept their state; lmcot reads none"
            )
        if not path.is_dir() or path.is_symlink():
            check_file(checkpoint, path.name)
    if (checkpoint / ADAPTER_CONFIG).is_file():
        check_adapter_folder(checkpoint)
    else:
        check_model_folder(checkpoint, OWN_CODE_REFUSED)
    read_safetensors_header(check_file(checkpoint, _MOMENTS))
    read_object(check_file(checkpoint, _RATES))


def _rates_of(group: dict[str, Any]) -> list[str]:
    return [name for name in ("lr", "initial_lr") if name in group]


def _plain(schedule: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a schedule without its functions, which are made anew."""
    return {name: value for name, value in schedule.items() if name != "lr_lambdas"}


def _text(state: Tensor) -> str:
    return base64.b64encode(state.cpu().numpy().tobytes()).decode()


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
