"""Standard output carries only data; a reader that closes the pipe ends the program quietly."""

from __future__ import annotations

import os
import sys

import typer

from lmcot_cli.errors import OutputError

CLOSED_PIPE = 141
"""What a shell reports for a program that SIGPIPE (13) ended: 128 + 13."""


def write_data(data: bytes) -> None:
    """Write to standard output and flush, so that each result can be read at once.

    Raises:
        typer.Exit: The reader has closed the pipe.
        OutputError: Standard output cannot be written, for example because the disk is full.
    """
    try:
        while data:  # an unbuffered stdout (python -u) may take only a part
            data = data[sys.stdout.buffer.write(data) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard_stdout()
        raise typer.Exit(CLOSED_PIPE) from None
    except OSError as error:
        discard_stdout()
        raise OutputError(f"standard output: cannot be written: {error.strerror}") from error


def write_text(text: str) -> None:
    """Write a text and a line end to standard output; what its encoding cannot express becomes `?`."""
    write_data(f"{text}\n".encode(sys.stdout.encoding or "utf-8", "replace"))


def discard_stdout() -> None:
    """Discard what is still buffered: Python flushes again at exit and would fail with a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
