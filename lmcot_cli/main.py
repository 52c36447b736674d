"""The Typer app: the table of commands, loaded one at a time, and the one error boundary."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from lmcot_cli import __version__
from lmcot_cli.commands.app import App, Group
from lmcot_cli.errors import LmcotError, did_you_mean
from lmcot_cli.interrupts import exit_code


class LazyCommand(NamedTuple):
    """A command of the module with its name in `lmcot_cli.commands`, imported only when it is needed.

    Attributes:
        help: One line of help.
        attribute: The name in the module if it differs: of a function, or of a `typer.Typer` of several commands.
    """

    help: str
    attribute: str | None = None


COMMANDS = {
    "answer": LazyCommand(
        "Answer questions: a small LM writes a rationale for each, a large LM answers from it."
    ),
    "eval": LazyCommand(
        "Score answers: exact match, F1 and inclusion, overall and per question type, with 95% intervals.",
        "evaluate",
    ),
    "compare": LazyCommand(
        "Compare two files of answers row by row: the difference B - A with its 95% interval, and rows that flipped."
    ),
    "revote": LazyCommand(
        "Replay stopping rules and votes on stored samples: samples used, exact match, and winners that change."
    ),
    "data": LazyCommand("Inspect question files, convert them, and make new ones.", "app"),
    "train": LazyCommand("Train the models of LM-guided chain-of-thought.", "app"),
    "export": LazyCommand(
        "Write a trained model as GGUF or ONNX, quantized, and verify each file against its source."
    ),
    "models": LazyCommand("List, inspect and download models.", "app"),
    "bench": LazyCommand(
        "Measure how fast samples are written here, by width and type, and say which settings to use."
    ),
    "doctor": LazyCommand(
        "Check this installation: llama.cpp, machine, embedded models, settings file, keys and extras."
    ),
}
"""Every command in the order of `--help`.

The help is repeated here so that `lmcot --help` imports no command; a test compares it with the command's own.
"""


class ErrorBoundary(Group):
    """Turns errors of the user into one line on stderr and their exit code; bugs keep their traceback."""

    def make_context(self, *args: Any, **attributes: Any) -> Any:
        """Read the options of the group itself."""
        with _one_line():
            return super().make_context(*args, **attributes)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see `lmcot_cli.errors` for the exit codes."""
        with _one_line():
            return super().invoke(ctx)


@contextmanager
def _one_line() -> Iterator[None]:
    """Print an error within as one line, and end with its exit code."""
    try:
        yield
    except LmcotError as error:
        _print_error(str(error))
        raise typer.Exit(error.exit_code) from error
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
            raise
        _print_error(_usage_message(error))
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(exit_code()) from error


def _print_error(message: str) -> None:
    from rich.console import Console

    from lmcot_cli.commands.printable import escaped

    line = f"error: {escaped(message)}"
    Console(stderr=True).print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def _usage_message(error: TyperException) -> str:
    """Return what Typer found wrong with a command line, and the command that shows its help."""
    message = " ".join(error.format_message().split()).rstrip(".")
    message = message.replace("Value error, ", "").replace(". Did you mean", "; did you mean")
    message = re.sub(r" \(Possible options: (.*)\)", r"; did you mean \1?", message)
    if choice := re.search(r"'([^']*)' is not one of (.*)", message):
        message += did_you_mean(choice[1], re.findall(r"'([^']*)'", choice[2]))
    context: Any = getattr(error, "ctx", None)
    see = " See" if message.endswith("?") else "; see"
    return f"{message[0].lower()}{message[1:]}{see} {context.command_path if context else 'lmcot'} --help"


class LazyGroup(ErrorBoundary):
    """The commands of `COMMANDS`, each imported only when it runs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # Stand-ins for lists and suggestions; `resolve_command` gives the command itself.
        self.commands.update({name: TyperCommand(name, help=lazy.help) for name, lazy in COMMANDS.items()})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that is to run or to be completed."""
        if args[0] in COMMANDS:
            return args[0], load_command(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def load_command(name: str) -> Any:
    """Import a command of `COMMANDS` and return it ready to run."""
    module = import_module(f"lmcot_cli.commands.{name}")
    target = getattr(module, COMMANDS[name].attribute or name)
    parent = App(add_completion=False, rich_markup_mode="rich")
    if isinstance(target, typer.Typer):
        parent.add_typer(target, name=name)
        return typer.main.get_group(parent).commands[name]
    parent.command(name, epilog=getattr(module, "EPILOG", None))(target)
    return typer.main.get_command(parent)


EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot answer questions.jsonl[/cyan]  the answers, on the terminal

[cyan]lmcot answer questions.jsonl -o answers.jsonl --samples 5[/cyan]  a vote of five, kept in a file
"""

app = typer.Typer(
    name="lmcot",
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="LM-guided chain-of-thought: a small LM writes the rationale, a frozen large LM answers from it.",
    epilog=EPILOG,
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"lmcot {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Take the options that belong to no command."""


def _open_standard_streams() -> None:
    """Open those of stdin, stdout and stderr that are closed (`lmcot ... >&-`), in that order.

    Python sets them to None, and the next file that is opened would get their descriptor. A closed stdin then is empty,
    and writing to a closed stdout fails, because its data would be lost.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def main() -> None:
    """Run the command line (the `lmcot` console script)."""
    _open_standard_streams()
    try:
        if os.environ.get("_LMCOT_COMPLETE") == "complete_bash":
            from lmcot_cli.commands.bash_completion import complete

            complete(app)
        sys.exit(app())
    except OSError as error:  # what Typer and Rich print themselves: --help, --version
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        from lmcot_cli.commands.stdout import discard_stdout

        discard_stdout()
        sys.exit(f"error: standard output: cannot be written: {error.strerror}")
