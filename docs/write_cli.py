"""Write the command reference (docs/cli.md) to standard output; `make docs` puts it in place."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from lmcot_cli.main import app

TITLE = """\
# Commands

Written by `make docs` from the commands' own help; a test compares the two.
"""


def reference() -> str:
    """Return the whole reference as Markdown."""
    command = get_command(app)
    context = typer.Context(command, info_name="lmcot")
    return "\n".join([TITLE, *sections(command, context)])


def sections(command: Any, context: Any) -> Iterator[str]:
    """Yield a section for a command, then those of its own commands."""
    yield f"## {context.command_path}\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```\n{context.command_path} {usage}\n```\n"
    yield from parameters(command, context)
    if command.epilog:
        yield f"{as_markdown(inspect.cleandoc(command.epilog))}\n"
    for name in getattr(command, "commands", {}):
        _, child, _ = command.resolve_command(context, [name])
        yield from sections(child, typer.Context(child, info_name=name, parent=context))


def parameters(command: Any, context: Any) -> Iterator[str]:
    """Yield a table of arguments and options; `--help` is everywhere and left out."""
    shown = [parameter for parameter in command.get_params(context) if "--help" not in parameter.opts]
    for parameter in shown:
        parameter.hidden = False  # those that only `--help-all` lists
    rows = [record for parameter in shown if (record := parameter.get_help_record(context))]
    if rows:
        yield "| | |\n| --- | --- |"
        yield from (f"| `{cell(names)}` | {cell(help_text)} |" for names, help_text in rows)
        yield ""


def cell(text: str) -> str:
    """Make text fit for a table: defaults without the brackets that Typer puts around words."""
    plain = re.sub(r"\[default: \((.*)\)\]", r"[default: \1]", " ".join(text.split()))
    return plain.replace("|", "\\|")


def as_markdown(text: str) -> str:
    """Turn the Rich markup of an epilog into Markdown; an example need not have words after it."""
    code = re.sub(r"\[cyan\](.*?)\[/cyan\] *", r"`\1` ", re.sub(r"\[/?bold\]", "**", text))
    return re.sub(r" +$", "", code, flags=re.MULTILINE)


if __name__ == "__main__":
    print(reference(), end="")
