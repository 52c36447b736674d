"""Keep the state of a run so that a killed one continues exactly: with the same losses as if nothing had happened.

The state is the weights that learn, the optimizer's moments, and a few numbers. The order of rows, what is sampled and
the minibatches follow from the seed and the number of the update, so no random generator is kept.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file

from lmcot_cli.errors import InputError
from lmcot_cli.files import replacing_folder
from lmcot_train.plain_state import load_moments, moments
from lmcot_train.ppo.learner import Learner
from lmcot_train.rollouts.best_weights import DAMAGE, first_line, read_tensors
from lmcot_train.rollouts.monitor import RefineProgress
from lmcot_train.run_folder import CHECKPOINTS_KEPT, cannot_write

_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_PROGRESS = TypeAdapter(RefineProgress)


class Checkpoints:
    """The newest state of a run.

    Args:
        folder: Where it is kept; made when the first is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, learner: Learner, progress: RefineProgress) -> None:
        """Keep the state, whole or not at all, and remove the one before it.

        A state that is already there is left: the same updates make the same state.

        Raises:
            OutputError: It cannot be written.
        """
        target = self.folder / _name(progress.update)
        try:
            if not target.exists():
                _write(target, learner, progress)
            for older in self._kept():
                if older != target:
                    shutil.rmtree(older)
        except (OSError, SafetensorError) as error:
            raise cannot_write(target, OSError(str(error))) from error

    def restore(self, learner: Learner) -> RefineProgress | None:
        """Load the newest state into the learner; None where there is none.

        Raises:
            InputError: It is damaged.
        """
        kept = self._kept()
        if not kept:
            return None
        try:
            progress = _read_progress(kept[-1])
            learner.policy.load_learned(read_tensors(kept[-1] / _WEIGHTS))
            load_moments(learner.optimizer, read_tensors(kept[-1] / _OPTIMIZER))
        except DAMAGE as error:
            raise InputError(
                f"{kept[-1]}: is damaged ({first_line(error)}): delete this folder to continue from the checkpoint"
                " before it, or from the start if there is none, with the large LM's replies so far; or start anew with"
                " --overwrite"
            ) from error
        return progress

    def _kept(self) -> list[Path]:
        return sorted(self.folder.glob("update-*"))


def _write(target: Path, learner: Learner, progress: RefineProgress) -> None:
    with replacing_folder(target, CHECKPOINTS_KEPT, durable=True) as temporary:
        save_file(learner.policy.learned(), temporary / _WEIGHTS)
        save_file(moments(learner.optimizer), temporary / _OPTIMIZER)
        (temporary / _STATE).write_text(json.dumps(asdict(progress)), encoding="utf-8")


def _read_progress(checkpoint: Path) -> RefineProgress:
    try:
        progress = _PROGRESS.validate_json((checkpoint / _STATE).read_bytes(), strict=True)
    except ValidationError as error:
        raise ValueError(f"{_STATE}: {error.errors()[0]['msg']}") from error
    if checkpoint.name != _name(progress.update):
        raise ValueError(f"{_STATE}: it is that of update {progress.update}")
    return progress


def _name(update: int) -> str:
    return f"update-{update:06d}"
