"""Keep the state of a run so that a killed one goes on exactly: the same losses as if nothing had happened.

The state is the weights that learn, the optimizer's, and a few numbers. The order of rows, what is sampled and the
minibatches follow from the seed and the number of the update, so there is no generator to keep.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lmcot_cli.errors import InputError, ModelError
from lmcot_cli.files import replacing, replacing_folder
from lmcot_cli.model_files.places import check_file
from lmcot_cli.model_files.safetensors_header import read_safetensors_header
from lmcot_train.plain_state import load_moments, moments
from lmcot_train.ppo.learner import Learner
from lmcot_train.ppo.policy import Policy
from lmcot_train.run_folder import CHECKPOINTS_KEPT, cannot_write

_WEIGHTS, _OPTIMIZER, _STATE, _BEST = "weights.safetensors", "optimizer.safetensors", "state.json", "best"


@dataclass(frozen=True, slots=True)
class PpoProgress:
    """How far a run has come.

    Attributes:
        coefficient: Weight of the KL penalty in the next update.
        update: Updates made.
        seconds: Time of training, all sessions together.
        best: Highest validation reward so far.
        best_update: Updates that had been made when it was reached.
    """

    coefficient: float
    update: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_update: int = 0


_PROGRESS = TypeAdapter(PpoProgress)
_DAMAGE = (ModelError, OSError, SafetensorError, ValueError, KeyError, RuntimeError)
"""What comes of reading a state that was cut off, or is that of something else."""


class Checkpoints:
    """The checkpoints of a run: its newest state, and the weights that validated best.

    Args:
        folder: Where they are; made when the first is kept.

    Attributes:
        best: The file of the weights that validated best.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.best = folder, folder / _BEST / _WEIGHTS

    def save(self, learner: Learner, progress: PpoProgress) -> None:
        """Keep the state, whole or not at all; the one before it goes.

        A state that is there already is left: the same updates make the same one.

        Raises:
            OutputError: It cannot be written.
        """
        target = self.folder / _name(progress.update)
        try:
            if not target.exists():
                self._write(target, learner, progress)
            for older in self._kept():
                if older != target:
                    shutil.rmtree(older)
        except (OSError, SafetensorError) as error:
            raise cannot_write(target, OSError(str(error))) from error

    def restore(self, learner: Learner) -> PpoProgress | None:
        """Load the newest state into the learner; None where there is none.

        Raises:
            InputError: It is damaged.
        """
        kept = self._kept()
        if not kept:
            return None
        try:
            progress = _read_progress(kept[-1])
            _load_weights(learner.policy, _tensors(kept[-1] / _WEIGHTS))
            load_moments(learner.optimizer, _tensors(kept[-1] / _OPTIMIZER))
        except _DAMAGE as error:
            raise damaged(kept[-1], error) from error
        return progress

    def keep_best(self, policy: Policy) -> None:
        """Keep the weights, instead of those kept as the best before, which are there until these are whole.

        Raises:
            OutputError: They cannot be written.
        """
        try:
            self.best.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.best, CHECKPOINTS_KEPT, durable=True) as temporary:
                save_file(_weights(policy), temporary)
        except (OSError, SafetensorError) as error:
            raise cannot_write(self.best, OSError(str(error))) from error

    def load_best(self, policy: Policy) -> None:
        """Load the weights that validated best; those of the policy stay where none were kept.

        Raises:
            InputError: They are damaged.
        """
        if not self.best.is_file():
            return
        try:
            _load_weights(policy, _tensors(self.best))
        except _DAMAGE as error:
            raise InputError(
                f"{self.best}: is damaged ({_first_line(error)}): delete it to end with the last weights instead of"
                " the best, or start anew with --overwrite"
            ) from error

    def _kept(self) -> list[Path]:
        return sorted(self.folder.glob("update-*"))

    def _write(self, target: Path, learner: Learner, progress: PpoProgress) -> None:
        with replacing_folder(target, CHECKPOINTS_KEPT, durable=True) as temporary:
            save_file(_weights(learner.policy), temporary / _WEIGHTS)
            save_file(moments(learner.optimizer), temporary / _OPTIMIZER)
            (temporary / _STATE).write_text(json.dumps(asdict(progress)), encoding="utf-8")


def damaged(checkpoint: Path, error: object) -> InputError:
    """Say that a run cannot go on from a checkpoint, and what can be done."""
    return InputError(
        f"{checkpoint}: is damaged ({_first_line(error)}): delete this folder to go on from the checkpoint before"
        " it, or from the start if there is none, with the large LM's replies so far; or start anew with --overwrite"
    )


def _first_line(error: object) -> str:
    """Return what an error says, shortened to one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _read_progress(checkpoint: Path) -> PpoProgress:
    try:
        progress = _PROGRESS.validate_json((checkpoint / _STATE).read_bytes(), strict=True)
    except ValidationError as error:
        raise ValueError(f"{_STATE}: {error.errors()[0]['msg']}") from error
    if checkpoint.name != _name(progress.update):
        raise ValueError(f"{_STATE}: it is that of update {progress.update}")
    return progress


def _name(update: int) -> str:
    return f"update-{update:06d}"


def _weights(policy: Policy) -> dict[str, Tensor]:
    head = {f"value_head.{name}": tensor for name, tensor in policy.value_head.state_dict().items()}
    named = {**{f"model.{name}": tensor for name, tensor in policy.weights.items()}, **head}
    return {name: tensor.detach().cpu().clone() for name, tensor in named.items()}


def _tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of a checkpoint, once it is known to be whole and to lie there."""
    read_safetensors_header(check_file(path.parent, path.name))
    return dict(load_file(path))


@torch.no_grad()
def _load_weights(policy: Policy, tensors: dict[str, Tensor]) -> None:
    for name, parameter in policy.weights.items():
        parameter.copy_(tensors[f"model.{name}"])
    for name, parameter in policy.value_head.named_parameters():
        parameter.copy_(tensors[f"value_head.{name}"])
