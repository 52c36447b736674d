"""A Rich console for standard output that handles full disks and closed pipes as `write_data` does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

from lmcot_cli.commands.stdout import write_data

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def stdout_console() -> Iterator[Console]:
    """Collect what is printed, and write it line by line at the end.

    Raises:
        OutputError: Standard output cannot be written, for example because the disk is full.
    """
    from rich.console import Console

    # Not Rich's own capture, which also writes to stdout, without the checks of write_data.
    page = StringIO()
    yield Console(file=page, force_terminal=sys.stdout.isatty() or None, highlight=False, emoji=False)
    text = page.getvalue().encode(sys.stdout.encoding or "utf-8", "replace")
    for line in text.splitlines(keepends=True):  # an unbuffered stdout may take only a part of a large write
        write_data(line)
