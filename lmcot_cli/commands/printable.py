"""Text from rows and models, made safe to show on a terminal."""

from __future__ import annotations

from rich.text import Text


def printable(text: str) -> str:
    """Return text on one line: white space becomes a space, other control and invisible characters are removed."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def escaped(text: str) -> str:
    r"""Return text on one line with nothing removed: what cannot be shown becomes an escape (`\x1b`)."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def as_text(text: str | None, style: str = "") -> Text:
    """Return text that Rich shows without reading markup in it; None (no answer) is a dash."""
    return Text("-", style="dim") if text is None else Text(printable(text), style=style)
