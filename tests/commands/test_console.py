"""Printing with Rich to a standard output that may be full, or no terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from lmcot_cli.commands.console import stdout_console
with stdout_console() as console:
    console.print("é\\u2192", style="bold")
"""


def run(stdout: int, **environment: str) -> subprocess.CompletedProcess[bytes]:
    settings = os.environ | {"TERM": "xterm", "PYTHONIOENCODING": "latin-1"} | environment
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=stdout, stderr=subprocess.PIPE, env=settings, check=False
    )


def test_no_styles_where_there_is_no_terminal_and_no_crash_where_a_character_is_missing() -> None:
    done = run(subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\xe9?\n", b"")


def test_styles_on_a_terminal() -> None:
    reader, terminal = pty.openpty()
    try:
        assert run(terminal).returncode == 0
        assert os.read(reader, 1000).startswith(b"\x1b[1m\xe9?\x1b[0m")
    finally:
        os.close(reader)
        os.close(terminal)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_disk_is_an_output_error(unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(full.fileno(), PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr.endswith(b"OutputError: standard output: cannot be written: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_full_disk_is_one_line_where_the_library_prints(option: str) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "lmcot_cli", option]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b"error: standard output: cannot be written: No space left on device\n"
