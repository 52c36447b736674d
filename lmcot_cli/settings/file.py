"""Find the settings file and read it once: the content that is confirmed by its digest is the content that is parsed.

A file found in the working directory may come from a stranger. It is opened without waiting, and only if it is a
regular file of a bounded size: a pipe, a device or a gigabyte under that name neither hangs lmcot nor fills the memory.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any

from lmcot_cli.errors import InputError

FILE_NAME = "lmcot.toml"
MOST_BYTES = 256 * 1024
"""Far more than any settings file needs."""

_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rf"(?<![\w-])(?:{_PART}[ \t]*+\.[ \t]*+){{48}}")
"""A dotted key of very many parts; the parser's time grows with the square of their number."""
_TOO_LARGE = "holds a whole number of more than 64 bits"


class Standing(Enum):
    """Who owns a settings file."""

    OWN = "in the user's configuration folder"
    NAMED = "named by --config"
    FOUND = "found in the working directory"


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A settings file as it was read.

    Attributes:
        path: Its path as shown to the user.
        standing: Who owns it.
        content: Its bytes.
    """

    path: Path
    standing: Standing
    content: bytes

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its bytes."""
        return sha256(self.content).hexdigest()

    @property
    def place(self) -> Path:
        """Return its absolute path, without following a final link; paths in the file are relative to its folder."""
        return Path(os.path.abspath(self.path))  # noqa: PTH100 - Path.resolve follows links

    @property
    def in_working_directory(self) -> bool:
        """Whether it is in the working directory, unless that is the user's configuration folder."""
        return self.standing is not Standing.OWN and self.place.parent.resolve() == Path.cwd().resolve()


def own_path() -> Path:
    """Return the path of the user's own settings file."""
    from platformdirs import user_config_path

    return user_config_path("lmcot") / FILE_NAME


def find_file(named: Path | None = None) -> SettingsFile | None:
    """Read the file that the user names, or else the one in the working directory, or else the user's own.

    Raises:
        InputError: The file cannot be read, is too large, or is not a regular file.
    """
    if named is not None:
        return SettingsFile(named, Standing.OWN if _is_own(named) else Standing.NAMED, _read_named(named))
    here = Path(FILE_NAME)
    if not _is_own(here) and (content := _read_found(here)) is not None:
        return SettingsFile(here, Standing.FOUND, content)
    return own_file()


def own_file() -> SettingsFile | None:
    """Read the user's own settings file; return None if there is none.

    Raises:
        InputError: The file cannot be read, is too large, or is not a regular file.
    """
    content = _read_found(own_path())
    return None if content is None else SettingsFile(own_path(), Standing.OWN, content)


def parse_toml(file: SettingsFile) -> dict[str, Any]:
    """Return the values of a settings file.

    Raises:
        InputError: It is not TOML.
    """
    return toml_values(file.path, file.content)


def toml_values(path: Path, content: bytes) -> dict[str, Any]:
    """Return the values of a TOML file that anybody may have written.

    Raises:
        InputError: It is not TOML, is nested too deeply, or holds a whole number of more than 64 bits.
    """
    try:
        text = content.decode("utf-8")
        if _DEEP_KEY.search(text):
            raise RecursionError
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not valid TOML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply") from error
    except ValueError as error:  # Python refuses whole numbers of more than 4,300 digits
        raise InputError(f"{path}: {_TOO_LARGE}") from error
    if _holds_too_large(values):
        raise InputError(f"{path}: {_TOO_LARGE}")
    return values


def _holds_too_large(values: dict[str, Any]) -> bool:
    """Return whether a whole number takes more than 64 bits: a hexadecimal one may be too long to be shown."""
    waiting: list[Any] = [values]
    while waiting:
        match waiting.pop():
            case dict() as table:
                waiting += table.values()
            case list() as items:
                waiting += items
            case int() as number if not -(2**63) <= number < 2**63:
                return True
    return False


def _is_own(path: Path) -> bool:
    """Return whether a path is in the user's configuration folder; a final link is not followed."""
    return path.name == FILE_NAME and path.parent.resolve() == own_path().parent.resolve()


def _read_named(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(path, file.read(MOST_BYTES + 1))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _read_found(path: Path) -> bytes | None:
    """Read a file that nobody named; return None if it does not exist."""
    try:
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):  # the home of a service may be /dev/null
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise InputError(f"{path}: is not a regular file: name another settings file with --config FILE")
    with os.fdopen(opened, "rb") as file:
        return _bounded(path, file.read(MOST_BYTES + 1))


def _bounded(path: Path, content: bytes) -> bytes:
    if len(content) > MOST_BYTES:
        raise InputError(
            f"{path}: is larger than {MOST_BYTES // 1024} KiB, which is too large for a settings file"
        )
    return content
