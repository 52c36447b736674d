"""Which settings files the user has confirmed, by path and digest: lmcot asks again if a file has changed or moved.

The list is a JSON object in the user's state folder, readable and writable only by its owner.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from lmcot_cli.errors import InputError, OutputError, UnconfirmedSettingsError
from lmcot_cli.files import cannot_write, read_object, write_json
from lmcot_cli.settings.file import SettingsFile

FILE_NAME = "trusted.json"
Confirm = Callable[[SettingsFile, Sequence[str]], bool]
"""Asks the user whether a file may be used."""

_BUSY_SECONDS = 5.0
_log = logging.getLogger(__name__)


def list_path() -> Path:
    """Return where the list is kept."""
    from platformdirs import user_state_path

    return user_state_path("lmcot") / FILE_NAME


def nobody_confirms(file: SettingsFile, reached: Sequence[str]) -> bool:
    """Refuse: the user cannot be asked."""
    return False


def check_trust(file: SettingsFile, reached: Sequence[str], confirm: Confirm) -> None:
    """Accept a file that only sets numbers and switches, was confirmed before, or is confirmed by the user now.

    Args:
        file: A file found in the working directory.
        reached: What it would do besides setting numbers and switches.
        confirm: Asks the user.

    Raises:
        UnconfirmedSettingsError: The user does not confirm it.
        InputError: The list of confirmed files is damaged or cannot be read.
    """
    if not reached or is_trusted(file):
        return
    if not confirm(file, reached):
        raise UnconfirmedSettingsError(str(file.path), reached)
    _remember(file)


def is_trusted(file: SettingsFile) -> bool:
    """Return whether the user has confirmed this file at this path with this content.

    Raises:
        InputError: The list is damaged or cannot be read.
    """
    return _read(list_path()).get(_name(file)) == file.digest


def _remember(file: SettingsFile) -> None:
    """Add a file to the list; if that fails, log a warning: the user will be asked again."""
    path = list_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=_BUSY_SECONDS, mode=0o600):
            write_json(path, _read(path) | {_name(file): file.digest}, mode=0o600)
    except (OSError, OutputError, Timeout) as error:
        _log.warning("%s; %s will be asked about again", _reason(path, error), file.path)


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, Timeout):
        return str(cannot_write(path, "another process holds it"))
    return str(error if isinstance(error, OutputError) else cannot_write(path, error))


def _name(file: SettingsFile) -> str:
    """Return a file's path as text that JSON can hold."""
    return os.fsencode(file.place).decode("utf-8", "backslashreplace")


def _read(path: Path) -> dict[str, str]:
    advice = "delete it, and confirm your settings files again"
    trusted = read_object(path, InputError, advice, missing_ok=True)
    if not all(isinstance(digest, str) for digest in trusted.values()):
        raise InputError(f"{path}: is damaged: {advice}")
    return trusted
