"""Find the answer in what a model wrote."""

from __future__ import annotations

import re

_MARKER = re.compile(r"\banswer\s+is\b\s*:?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?][\"'\u201d\u2019)]*\s+|\n")
_ABBREVIATION = re.compile(r"\.\S*\.$|\.{2,}$")  # "U.S." and "a.m." keep their last period, and so does "..."
_QUOTES = (('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"))
_MARKDOWN = "*`"


def answer_line(completion: str) -> str | None:
    """Return the answer of a completion that should hold nothing else: its first line that is not empty.

    Returns:
        The line without white space, enclosing quotes and final period; None where nothing is left.
    """
    lines = completion.strip().splitlines()
    return _bare(lines[0]) if lines else None


def chain_answer(chain: str) -> tuple[str, str | None]:
    """Split a chain of thought into its rationale and its answer.

    The answer follows the last "answer is" (any case, optional colon) up to the end of the line.

    Returns:
        The text before the sentence that holds the marker, and the answer. Without a marker the whole chain
        is the rationale and there is no answer (None).
    """
    markers = list(_MARKER.finditer(chain))
    if not markers:
        return chain.strip(), None
    return _before_sentence(chain, markers[-1].start()), answer_line(chain[markers[-1].end() :])


def _before_sentence(text: str, position: int) -> str:
    starts = [end.end() for end in _SENTENCE_END.finditer(text, 0, position)]
    return text[: starts[-1]].strip() if starts else ""


def _bare(text: str) -> str | None:
    """Strip quotes and a final period, in whichever order they enclose the answer."""
    stripped = text.strip()
    while (shorter := _unquoted(_without_period(stripped))) != stripped:
        stripped = shorter
    return stripped or None


def _without_period(text: str) -> str:
    last_word = text.rsplit(maxsplit=1)[-1] if text else ""
    if not text.endswith(".") or _ABBREVIATION.search(last_word):
        return text
    return text[:-1].rstrip()


def _unquoted(text: str) -> str:
    bare = text.strip(_MARKDOWN).strip()
    for opening, closing in _QUOTES:
        inner = bare[1:-1]
        if len(bare) > 1 and bare[0] == opening and bare[-1] == closing and not {opening, closing} & {*inner}:
            return inner.strip()
    return bare
