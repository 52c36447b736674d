"""Files of our own beside an output: under names that anybody can guess, in a folder that may come from a stranger.

A link that lies there is not followed, so nothing but the output is written to; what is no regular file (a pipe, a
device) is not read, so nothing waits or fills the memory.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def new_file(path: Path) -> BinaryIO:
    """Open a new, empty file in place of whatever has its name.

    Raises:
        OSError: What lies there cannot be removed, or the folder cannot be written.
    """
    path.unlink(missing_ok=True)
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    return os.fdopen(opened, "wb")


def read_regular(path: Path) -> bytes:
    """Read a regular file.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return file.read()
