"""System messages: the text of the option itself or of a file."""

from __future__ import annotations

import re
from pathlib import Path

from lmcot_cli.errors import InputError, UsageError

MAX_BYTES = 2**16
"""The most bytes of a system message; a longer file is surely another one."""

_FILE_NAME = re.compile(r"\S*\w\.(txt|md|markdown|j2|jinja|prompt|json|jsonl|toml|ya?ml)", re.IGNORECASE)


def read_system(value: str | None, option: str) -> str | None:
    """Return the message that an option gives: the content of the file that it names, else the value itself.

    Args:
        value: The value; None or a blank text is no message.
        option: The option, for error messages.

    Raises:
        UsageError: The value is the name of a file that is not there, or is no text.
        InputError: The file cannot be read as UTF-8 text of at most `MAX_BYTES`.
    """
    if value is None or not value.strip():
        return None
    path = Path(value)
    if names_file(path):
        return _read(path, option)
    if _FILE_NAME.fullmatch(value):
        raise UsageError(
            f"{option} {value}: there is no such file; give one that is there, or the text itself"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{option}: the text is not UTF-8") from error
    return value.strip()


def names_file(path: Path) -> bool:
    """Whether a file or folder has this path; a text that cannot be a path has none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _read(path: Path, option: str) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{option} {path}: is longer than {MAX_BYTES:,} bytes: is that the right file?")
    try:
        return content.decode("utf-8-sig").strip() or None
    except UnicodeDecodeError as error:
        raise InputError(f"{option} {path}: is not UTF-8 text; save it as UTF-8") from error
