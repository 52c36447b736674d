"""Completion in bash, which takes `builtin:small` for three words: it splits words at colons.

Typer completes a word as bash hands it over. Here the pieces are put together before, and what stands before the last
colon is taken off the completions after, for bash replaces only what follows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO


def complete(app: Callable[[], object]) -> None:
    """Print the completions of the word that the variables of bash describe, and end.

    Raises:
        SystemExit: Always; Typer ends so.
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
    """Put the pieces of words together that bash split at colons, and drop the `=` between an option and its value.

    An empty word follows a blank and stays alone.

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
