"""The Typer app: registration of every command, and the one error boundary."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from lmcot_cli import __version__
from lmcot_cli.errors import LmcotError

INTERRUPTED = 130


class ErrorBoundary(TyperGroup):
    """Turn our own errors into one line on stderr and their exit code; bugs keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see `lmcot_cli.errors` for the exit codes."""
        try:
            return super().invoke(ctx)
        except LmcotError as error:
            Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    name="lmcot",
    cls=ErrorBoundary,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="LM-guided chain-of-thought: a small LM writes the rationale, a frozen large LM answers from it.",
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"lmcot {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options that belong to no command."""


def main() -> None:
    """Run the command line (the `lmcot` console script)."""
    sys.exit(app())
