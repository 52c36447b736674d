"""The markers that a template asks the model to write before its answer, read from the template itself."""

from __future__ import annotations

import re
from collections.abc import Iterable

_QUOTED = re.compile(
    r"\"([^\"\n]+)\"|\u201c([^\u201d\n]+)\u201d|\u201e([^\u201c\u201d\n]+)[\u201c\u201d]|\u00ab([^\u00bb\n]+)\u00bb"
    r"|\u00bb([^\u00ab\n]+)\u00ab|\u300c([^\u300d\n]+)\u300d|\u300e([^\u300f\n]+)\u300f|\u201a([^\u2018\u2019\n]+)[\u2018\u2019]"
    r"|\u2018([^\u2019\n]+)\u2019|\u2039([^\u203a\n]+)\u203a|`([^`\n]+)`|\*\*([^*\n]+)\*\*|(?<![^\W\u1100-\uffff])'([^'\n]+)'(?![^\W\u1100-\uffff])"
)
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{4,}")
"""Words of Chinese, Japanese or Korean: an ending there may have no space in it."""
_PLACEHOLDER = re.compile(
    r"\s*(?:<[^<>]*>|\[[^\[\]]*\]|\{[^{}]*\}|\([^()]*\)|_{2,}|\.{3}|\u2026|\b[XY]\b)?[\s.\u3002!]*$"
)
_NAMED = re.compile(r"^\s*answer marker\s*:\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)


def named_markers(comments: Iterable[str]) -> tuple[str, ...]:
    """Return the markers that comments of a template name: `answer marker: Also lautet die Antwort`."""
    return tuple(_unquoted(found[1]) for comment in comments for found in _NAMED.finditer(comment))


def quoted_ending(text: str) -> str | None:
    """Return the ending that a prompt quotes: the last quotation of two words or more, or with a colon at its end.

    A placeholder for the answer at its end ("The answer is <answer>.") is left out.
    """
    quoted = [next(filter(None, found.groups())) for found in _QUOTED.finditer(text)]
    endings = [
        ending for one in quoted if (ending := _PLACEHOLDER.sub("", one).strip()) and _is_ending(ending)
    ]
    return endings[-1] if endings else None


def _is_ending(text: str) -> bool:
    return (
        text.endswith((":", "\uff1a"))
        or len(text.split()) > 1
        or "answer" in text.lower()
        or bool(_UNSPACED.match(text))
    )


def _unquoted(text: str) -> str:
    found = _QUOTED.fullmatch(text)
    return next(filter(None, found.groups())) if found else text
