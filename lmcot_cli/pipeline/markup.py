r"""Strip quotes, Markdown, LaTeX and a final period from a short text.

Signs that are part of a name stay: "M*A*S*H", "U.S.", "rock 'n' roll", "A" and "B".
"""

from __future__ import annotations

import re

_ABBREVIATION = re.compile(
    r"(?:^|\W)(?:[^\W\d_]{1,3}\.){2,}$|\.{2,}$"
)  # "U.S." and "a.m." keep their last period, and so does "..."
_LONGEST_ABBREVIATION = 40
_QUOTES = (
    ('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"), ("\u201e", "\u201c"), ("\u201e", "\u201d"),
    ("\u201a", "\u2018"), ("\u00ab", "\u00bb"), ("\u00bb", "\u00ab"), ("\u2039", "\u203a"), ("\u300c", "\u300d"),
    ("\u300e", "\u300f"),
)  # fmt: skip
_MARKDOWN = "*`"
_PERIODS = (".", "\u3002", "\uff0e")
_EMPHASIS = re.compile(
    r"\*\*(?=\S)(?P<bold>(?:[^*\n]|\*(?!\*)){1,400}?)(?<=\S)\*\*"
    r"|(?<!\w)__(?=\S)(?P<strong>[^\n]{1,400}?)(?<=\S)__(?!\w)"
    r"|(?<![\w*])\*(?=[^\s*])(?P<italic>[^*\n]{1,400}?)(?<=\S)\*(?![\w*])"
    r"|(?<![\w_])_(?=[^\s_])(?P<slanted>[^_\n]{1,400}?)(?<=\S)_(?![\w_])"
    r"|`(?P<code>[^`\n]{1,400})`"
)
_LONGEST_BOX = 1000
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
_LATEX_WORDS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|emph)\s*\{([^{}]*)\}")
_LATEX_SIGNS = {"\\%": "%", "\\$": "$", "\\&": "&", "\\#": "#", "{,}": ",", "\\,": "", "\\!": "", "\\;": " "}
_LATEX_FRAMES = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))


def bare(text: str) -> str | None:
    """Return a text without the quotes, Markdown, LaTeX and final period around it; None where nothing is left."""
    stripped = text.strip()
    while (shorter := _unquoted(_unframed(_without_period(stripped)))) != stripped:
        stripped = shorter
    return stripped or None


def without_emphasis(text: str) -> str:
    """Return a line without the marks of bold, italic and code text."""
    return _EMPHASIS.sub(lambda found: next(filter(None, found.groups())), text)


def only_bold(line: str) -> str | None:
    """Return the bold text of a line; None where there is none, or more than one."""
    found = [one["bold"] or one["strong"] for one in _EMPHASIS.finditer(line) if one["bold"] or one["strong"]]
    return found[0] if len(found) == 1 else None


def boxes(text: str) -> list[tuple[int, int, str]]:
    r"""Return start, end and content of every `\boxed{...}`, with braces matched.

    One that is never closed ends with its line.
    """
    return [(found.start(), *_closed(text, found.end())) for found in _BOX.finditer(text)]


def _closed(text: str, begin: int) -> tuple[int, str]:
    """Return where the brace that was opened before `begin` is closed, and its content."""
    depth = 1
    window = text[begin : begin + _LONGEST_BOX]
    for brace in re.finditer(r"(?<!\\)[{}]", window):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return begin + brace.end(), window[: brace.start()]
    inside = window.split("\n", 1)[0]
    return begin + len(inside), inside


def _without_period(text: str) -> str:
    last_word = text.rsplit(maxsplit=1)[-1][-_LONGEST_ABBREVIATION:] if text else ""
    if not text.endswith(_PERIODS) or _ABBREVIATION.search(last_word):
        return text
    return text[:-1].rstrip()


def _unframed(text: str) -> str:
    """Strip LaTeX: a box, the dollars of a formula, the commands of words set as text."""
    if not any(sign in text for sign in ("\\", "$", "{,}")):
        return text
    if box := _BOX.match(text):
        end, inside = _closed(text, box.end())
        if end == len(text):
            return inside.strip()
    for opening, closing in _LATEX_FRAMES:
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner.strip() and closing not in inner:
            return inner.strip()
    for sign, plain in _LATEX_SIGNS.items():
        text = text.replace(sign, plain)
    return _LATEX_WORDS.sub(r"\1", text).strip()


def _unquoted(text: str) -> str:
    stripped = without_emphasis(text).strip(_MARKDOWN).strip()
    for opening, closing in _QUOTES:
        inner = stripped[1:-1]
        if (
            len(stripped) > 1
            and (stripped[0], stripped[-1]) == (opening, closing)
            and not {opening, closing} & {*inner}
        ):
            return inner.strip()
    return stripped
