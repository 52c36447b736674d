"""Options of commands that are not settings: where input and output are, and what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="Write results to OUT, and continue where an earlier run with the same settings ended.",
        rich_help_panel=_OUTPUT,
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace OUT instead of continuing it.", rich_help_panel=_OUTPUT)
]
RetryErrorsOption = Annotated[
    bool,
    typer.Option(
        "--retry-errors",
        help="Answer the failed rows of OUT again, in their place; other rows stay as they are.",
        rich_help_panel=_OUTPUT,
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Ask no model: count the rows, show the prompts of the first one, estimate tokens and cost.",
        rich_help_panel=_OUTPUT,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSONL even to a terminal.", rich_help_panel=_OUTPUT)
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="No progress, warnings or summary on stderr.", rich_help_panel=_OUTPUT
    ),
]
