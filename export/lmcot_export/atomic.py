"""Write files under another name and move them in place when they are complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmcot_cli.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out a temporary path in the same folder; it becomes `path` if the block ends well, else it is removed.

    Raises:
        OutputError: The folder cannot be written to, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename is not None and Path(error.filename).parent != path.parent:
            raise  # it is about another file, one that was read
        raise _explained(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _explained(path: Path, error: OSError) -> OutputError:
    if error.errno == errno.ENOSPC:
        return OutputError(f"{path}: the disk is full; free some space, or write elsewhere with -o DIR")
    return OutputError(f"{path}: cannot be written: {error.strerror or error}")


def size_of(exported: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    files = exported.rglob("*") if exported.is_dir() else [exported]
    return sum(file.stat().st_size for file in files if file.is_file())
