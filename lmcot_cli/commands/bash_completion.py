"""Completion in bash, which splits words at colons: `builtin:small` is three words to it.

Typer completes the words that bash passes on. Here they are joined before, and the part up to the last colon is removed
from the completions afterwards, because bash replaces only what follows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO


def complete(app: Callable[[], object]) -> None:
    """Print the completions of the word that the variables of bash describe, and end.

    Raises:
        SystemExit: Always, as Typer ends.
    """
    words = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
    whole = joined(words)
    os.environ |= {"COMP_WORDS": "\n".join(whole), "COMP_CWORD": str(len(whole) - 1)}
    held = "" if whole[-1] == words[-1] else whole[-1][: whole[-1].rfind(":") + 1]
    page = StringIO()
    try:
        with redirect_stdout(page):
            app()
    finally:
        for line in page.getvalue().splitlines():
            print(line.removeprefix(held))


def joined(words: list[str]) -> list[str]:
    """Join the words that bash split at colons, and drop the `=` between an option and its value.

    An empty word comes after a blank and is not joined.

    >>> joined(["lmcot", "answer", "--small", "=", "builtin", ":", "s"])
    ['lmcot', 'answer', '--small', 'builtin:s']
    """
    whole: list[str] = []
    for number, (word, before) in enumerate(zip(words, ["", *words], strict=False)):
        if whole and word and (word.startswith(":") or before.endswith(":")):
            whole[-1] += word
        elif word != "=" or number == len(words) - 1 or not before.startswith("--"):
            whole.append(word)
    return whole
