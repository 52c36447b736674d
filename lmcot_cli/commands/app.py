"""The Typer app that commands are registered with: help as it reads best on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose help shows no type beside a switch, and wraps its paragraphs to the terminal."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.help = unwrapped(self.help or "")

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, `--help` among them."""
        params = super().get_params(ctx)
        for one in params:
            if getattr(one, "is_flag", False) and one.metavar is None:
                one.metavar = ""  # else Typer writes <bool>
        return params


class App(typer.Typer):
    """A Typer whose commands are of our class."""

    def command(self, name: str | None = None, **attributes: Any) -> Callable[[Any], Any]:
        """Register a command."""
        return super().command(name, **{"cls": Command, **attributes})


def unwrapped(text: str) -> str:
    """Take the line ends out of the paragraphs of a docstring: a terminal wraps them to its own width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
