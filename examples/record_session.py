"""Record a real session as a picture: python examples/record_session.py > examples/session.svg

The commands run on a pseudo-terminal, so the picture shows what a person sees; nothing is edited.
"""

from __future__ import annotations

import io
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 110
ANSWERS = Path("runs/session.jsonl")
COMMANDS = (
    "lmcot answer examples/questions.jsonl --limit 5",
    f"lmcot answer examples/questions.jsonl -o {ANSWERS}",
    f"lmcot eval {ANSWERS}",
)


def terminal_output(command: str) -> str:
    """Run a command on a new terminal and return everything it showed.

    Raises:
        subprocess.CalledProcessError: The command failed.
    """
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        shlex.split(command), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = read_all(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, shown.decode())
    return shown.decode()


def read_all(terminal: int) -> bytes:
    """Read until the other side is closed, which Linux reports as an error and other systems as an empty read."""
    shown = b""
    with os.fdopen(terminal, "rb", buffering=0) as stream:
        while True:
            try:
                chunk = stream.read(65536)
            except OSError:
                return shown
            if not chunk:
                return shown
            shown += chunk


def settled(output: str) -> Text:
    """Return what remains on the screen at the end: a progress bar moves up a line and erases itself."""
    kept: list[str] = []
    for line in output.replace("\r\n", "\n").split("\n"):
        up = line.count("\x1b[1A")
        kept = [*kept[: len(kept) - up], line.rpartition("\x1b[2K")[2].rpartition("\r")[2]]
    return Text.from_ansi("\n".join(kept).rstrip())


def record(commands: tuple[str, ...]) -> str:
    """Run the commands and return the picture as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for command in commands:
        console.print(f"[bold green]$[/] {command}", highlight=False)
        console.print(settled(terminal_output(command)))
    return console.export_svg(title="lmcot")


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    ANSWERS.parent.mkdir(exist_ok=True)
    ANSWERS.unlink(missing_ok=True)
    sys.stdout.write(record(COMMANDS))
