"""Load the settings file for a command, and ask a person on a terminal about one that is not confirmed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lmcot_cli.commands.printable import escaped

if TYPE_CHECKING:
    from lmcot_cli.config import Config
    from lmcot_cli.settings.file import SettingsFile


def settings_from(path: Path | None) -> Config:
    """Return the settings in use; see `load_config` for what it raises."""
    from lmcot_cli.config import load_config

    return load_config(path, ask_on_terminal)


def ask_on_terminal(file: SettingsFile, reached: Sequence[str]) -> bool:
    """Show what a file would do and ask whether it may be used; without a terminal it may not."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    typer.echo(f"{escaped(str(file.place))} was found here and is not confirmed. It would:", err=True)
    for one in reached:
        typer.echo(f"  - {escaped(one)}", err=True)
    typer.echo("Use it here until it changes? [y/N] ", err=True, nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")  # typer.confirm writes a space to stdout
