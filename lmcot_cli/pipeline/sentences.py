"""Where sentences end, as far as reading an answer needs it: names that contain periods are not cut."""

from __future__ import annotations

import re
from collections.abc import Iterator

_END = re.compile(
    r"(?P<period>\.)[\"'\u201d\u2019)*_]*\s+|[!?][\"'\u201d\u2019)*_]*\s+|[\u3002\uff01\uff1f][\u300d\u300f\u201d]?|\n"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ABBREVIATIONS = _words(
    "adm approx ave blvd bros brig ca capt cf co col corp cpl dept dr e.g est etc ft fr gen gov hon i.e inc jr lt ltd"
    " maj messrs mr mrs ms mt mts no op pres prof rep rev sen sgt sr st univ vol vs"
)
_LOOK_BACK = 80
_WORD = re.compile(r"[^\W\d_]+")
_OPENERS = _words(
    "also and answer as because both but final finally he hence her his however i if in it its neither she since so"
    " that the their therefore there these they this those thus we when which while you"
)
"""Words that begin a sentence much more often than they follow an abbreviation within a name."""


def sentence_starts(text: str, end: int | None = None) -> Iterator[int]:
    """Yield the start of each sentence but the first, before `end`; a new line starts one, too."""
    limit = len(text) if end is None else end
    for found in _END.finditer(text, 0, limit):
        if not (found["period"] and _within_name(text, found.start(), found.end())):
            yield found.end()


def first_sentence(line: str) -> tuple[str, str]:
    """Return the first sentence of a line and the rest."""
    for start in sentence_starts(line):
        if line[:start].rstrip().endswith(("!", "?")) and not _opens(
            line, start
        ):  # "Mamma Mia! Here We Go Again"
            continue
        if line[start : start + 1] not in ("", "*", "_") and not line[start].islower():
            return line[:start].rstrip(), line[start:].strip()
    return line, ""


def _opens(text: str, start: int) -> bool:
    """Whether the next word often begins a sentence."""
    following = _WORD.match(text, start)
    return bool(following and following[0].lower() in _OPENERS)


def _within_name(text: str, period: int, after: int) -> bool:
    """Whether a period belongs to an abbreviation or to an initial within a name."""
    if _opens(text, after):
        return False
    words = text[max(period - _LOOK_BACK, 0) : period].split()
    last = words[-1].lstrip("(\"'\u201c*_") if words else ""
    if last.lower() in _ABBREVIATIONS or "." in last.strip("."):
        return True
    if last == "c" and text[after : after + 1].isdigit():  # "c. 1500"
        return True
    if last.isdigit() and len(words) == 1:  # "1. FC Nuremberg"
        return True
    initial = len(last) == 1 and last.isalpha() and last.isupper()
    return initial and (len(words) == 1 or words[-2][:1].isupper())
