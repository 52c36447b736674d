"""Files: replaced whole or not at all, locked, known by their digests, read without surprises.

The names of files beside an output can be guessed, and its folder may come from a stranger. So nothing is written
through a link that lies there, and what is no regular file (a pipe, a device) is not read: nothing waits for it or
fills the memory.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO

from lmcot_cli.errors import LmcotError, ModelError, OutputError

_BINARY = getattr(os, "O_BINARY", 0)
_MOST_JSON_BYTES = 16 * 1024 * 1024
"""More than this no file of settings has: those of the largest models take some hundred kilobytes."""


def new_file(path: Path, mode: int = 0o666) -> BinaryIO:
    """Open a new, empty file in place of whatever has its name.

    Raises:
        OSError: What lies there cannot be removed, or the folder cannot be written.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode), "wb")


@contextmanager
def replacing(path: Path, advice: str = "", *, durable: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """Yield a new, empty file in the same folder, which replaces `path` if the block succeeds, else is removed.

    Args:
        path: The file to replace; a link is replaced itself.
        advice: What the user can do if the file cannot be written.
        durable: Flush the content to the disk first, so that a crash of the machine leaves the old file or the new.
        mode: The new file's permissions, less the umask.

    Raises:
        OutputError: The file cannot be written.
    """
    temporary = _temporary(path)
    with _explained(path, advice):
        try:
            new_file(temporary, mode).close()
            yield temporary
            if durable:
                _flush(temporary)
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, advice: str = "", *, durable: bool = False) -> Iterator[Path]:
    """Yield a new folder beside `path`, which replaces it if the block succeeds, else is removed.

    The arguments are those of `replacing`. An old folder is removed just before the new one takes its name.

    Raises:
        OutputError: The folder cannot be written.
    """
    temporary = _temporary(path)
    with _explained(path, advice):
        try:
            _remove(temporary)
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.rglob("*") if durable else ():
                _flush(file)
            _remove(path)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def replace_file(path: Path, content: bytes, advice: str = "", *, mode: int = 0o666) -> None:
    """Replace a file durably; see `replacing`.

    Raises:
        OutputError: The file cannot be written.
    """
    with replacing(path, advice, durable=True, mode=mode) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: object, advice: str = "", *, mode: int = 0o666) -> None:
    """Replace a file by indented JSON; see `replace_file`.

    Raises:
        OutputError: The file cannot be written.
    """
    replace_file(path, json.dumps(value, indent=2).encode() + b"\n", advice, mode=mode)


def cannot_write(path: Path, error: object, advice: str = "") -> OutputError:
    """Return the error that says why a file cannot be written, and what the user can do."""
    reason = getattr(error, "strerror", None) or error
    if getattr(error, "errno", None) == errno.ENOSPC:
        advice = advice or "free some space, or choose another -o"
    return OutputError(f"{path}: cannot be written: {reason}{advice and f'; {advice}'}")


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: The file cannot be read, or is no regular file.
    """
    opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return file.read()


def read_object(
    path: Path,
    fault: type[LmcotError] = ModelError,
    advice: str = "fetch or save it anew",
    *,
    most: int = _MOST_JSON_BYTES,
    missing_ok: bool = False,
) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Args:
        path: The file; anyone may have written or damaged it.
        fault: The class of the error.
        advice: What the user can do if the file holds no JSON object.
        most: The most bytes that the file may have.
        missing_ok: Return an empty object if there is no such file.

    Raises:
        LmcotError: Of the class `fault`: the file cannot be read, is too large, is no JSON or nested too deeply, or
            holds something other than an object.
    """
    try:
        if path.stat().st_size > most:
            raise fault(f"{path}: is larger than any settings ({most:,} bytes); {advice}")
        value = json.loads(read_regular(path))
    except FileNotFoundError as error:
        if missing_ok:
            return {}
        raise fault(f"{path}: is missing; {advice}") from error
    except OSError as error:
        raise fault(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        reason = str(error) or "it is nested too deeply"
        raise fault(f"{path}: is not valid JSON ({reason}); {advice}") from error
    if not isinstance(value, dict):
        raise fault(f"{path}: is not a JSON object; {advice}")
    return value


def hex_digest(path: Path) -> str:
    """Return a file's SHA-256 as 64 hexadecimal digits; the file is read in blocks."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as `sha256:...`."""
    return f"sha256:{hex_digest(path)}"


def lock(descriptor: int, path: Path, use: str = "is writing to it") -> None:
    """Keep an open file or folder from other processes until its descriptor is closed.

    Args:
        descriptor: The open file or folder.
        path: Its path, for messages.
        use: What another process that has the lock does.

    Raises:
        OutputError: Another process has it, or it cannot be locked.
    """
    from filelock import lock_descriptor

    try:
        locked = lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        raise OutputError(f"{path}: cannot be locked: {error.strerror}; choose another -o") from error
    if not locked:
        raise OutputError(f"{path}: another lmcot {use}: wait for it, or choose another -o")


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


@contextmanager
def _explained(path: Path, advice: str) -> Iterator[None]:
    """Turn an error that is about `path`, or about no file by name, into one line for the user."""
    try:
        yield
    except OSError as error:
        named = error.filename
        if isinstance(named, str | bytes) and path.parent not in Path(os.fsdecode(named)).parents:
            raise  # it is about another file, one that was read
        raise cannot_write(path, error, advice) from error


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
