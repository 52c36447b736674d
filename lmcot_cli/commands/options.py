"""Options of commands that are not settings: where input and output are, and what is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lmcot_cli.settings.declaration import setting

_OUTPUT = "Output"


def _show_all(context: typer.Context, asked: bool) -> None:
    """Print the help with every option, and exit."""
    if not asked:
        return
    command: Any = context.command
    for one in command.params:
        one.hidden = False
    typer.echo(context.get_help(), color=context.color)
    raise typer.Exit


HelpAllOption = Annotated[
    bool,
    typer.Option(
        "--help-all", callback=_show_all, is_eager=True, help="Show this help with every option, and exit."
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file to use.",
        show_default="lmcot.toml here, else in the user's configuration folder",
    ),
]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where the results of `lmcot answer` go, and what is shown."""

    output: Path | None = setting(
        None,
        "Write results to OUT, and continue where an earlier run with the same settings ended.",
        short="-o",
        metavar="OUT",
        common=True,
        panel=_OUTPUT,
    )
    overwrite: bool = setting(False, "Replace OUT instead of continuing it.", common=True, panel=_OUTPUT)
    retry_errors: bool = setting(
        False,
        "Answer the failed rows of OUT again, in their place; other rows stay as they are.",
        common=True,
        panel=_OUTPUT,
    )
    dry_run: bool = setting(
        False,
        "Ask no model: count the rows, show the prompts of the first one, estimate tokens and cost.",
        common=True,
        panel=_OUTPUT,
    )
    json: bool = setting(False, "Write JSONL even to a terminal.", common=True, panel=_OUTPUT)
    quiet: bool = setting(
        False, "No progress, warnings or summary on stderr.", short="-q", common=True, panel=_OUTPUT
    )
