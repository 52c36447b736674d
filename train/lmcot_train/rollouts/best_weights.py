"""The weights of a policy in files: those that validated best, and those of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lmcot_cli.errors import InputError, ModelError
from lmcot_cli.files import replacing
from lmcot_cli.model_files.places import check_file
from lmcot_cli.model_files.safetensors_header import read_safetensors_header
from lmcot_train.rollouts.policy import Policy
from lmcot_train.run_folder import CHECKPOINTS_KEPT, cannot_write

DAMAGE = (ModelError, OSError, SafetensorError, ValueError, KeyError, RuntimeError)
"""What reading raises where a file was cut off, or belongs to something else."""


class BestWeights:
    """The weights that validated best.

    Attributes:
        path: Their file; its folder is made when the first are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "best" / "weights.safetensors"

    def keep(self, policy: Policy) -> None:
        """Keep the weights in place of those kept before, which stay until these are whole.

        Raises:
            OutputError: They cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path, CHECKPOINTS_KEPT, durable=True) as temporary:
                save_file(policy.learned(), temporary)
        except (OSError, SafetensorError) as error:
            raise cannot_write(self.path, OSError(str(error))) from error

    def load(self, policy: Policy) -> None:
        """Load the weights into the policy, whose own stay where none were kept.

        Raises:
            InputError: They are damaged.
        """
        if not self.path.is_file():
            return
        try:
            policy.load_learned(read_tensors(self.path))
        except DAMAGE as error:
            raise InputError(
                f"{self.path}: is damaged ({first_line(error)}): delete it to end with the last weights instead of"
                " the best, or start anew with --overwrite"
            ) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors, once it is known to be whole and to be in its folder."""
    read_safetensors_header(check_file(path.parent, path.name))
    return dict(load_file(path))


def first_line(error: object) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
