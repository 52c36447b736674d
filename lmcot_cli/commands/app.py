"""The Typer app that commands are registered with, which makes help readable on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class _ReadableHelp:
    """Help without a type beside a switch, and without parentheses around a default."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, `--help` among them."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for one in params:
            if getattr(one, "is_flag", False) and one.metavar is None:
                one.metavar = ""  # else Typer writes <bool>
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help; nothing is parsed afterwards, so a default may become the words that describe it."""
        for one in self.get_params(ctx):
            if isinstance(one.show_default, str) and not getattr(one, "secondary_opts", None):
                one.default, one.show_default = one.show_default, True
        super().format_help(ctx, formatter)  # type: ignore[misc]


class Group(_ReadableHelp, TyperGroup):
    """A group of commands."""


class Command(_ReadableHelp, TyperCommand):
    """A command whose help wraps its paragraphs to the terminal."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.help = unwrapped(self.help or "")


class App(typer.Typer):
    """A Typer that uses our classes of commands and groups."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{"cls": Group, **attributes})

    def command(self, name: str | None = None, **attributes: Any) -> Callable[[Any], Any]:
        """Register a command."""
        return super().command(name, **{"cls": Command, **attributes})


def unwrapped(text: str) -> str:
    """Return a docstring without line ends inside its paragraphs: a terminal wraps them to its own width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
