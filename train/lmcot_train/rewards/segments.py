"""Split text of any script into sentences and words by ICU, which has dictionaries for Chinese, Japanese, Thai, etc."""

from __future__ import annotations

import re
from collections.abc import Iterator

from icu4py.breakers import SentenceBreaker, WordBreaker

from lmcot_train.rewards.languages import ABBREVIATIONS

_LOOK_BACK = 80
"""Characters before a full stop that decide whether it ends a sentence: no abbreviation is longer."""
_ROOT = "en"  # the rules for words and sentences are those of all languages
_JOINERS = frozenset("-&\u2010\u2011\u00b7\u30fb")
_ABBREVIATED = re.compile(r"([^\W_](?:[^\W_]|\.)*)\.\s*$")
_NUMBERED = re.compile(r"[A-Z]\w+ [A-Z]\w+ $")  # "World War I.", not "when I. Newton"
_BEFORE_NUMBER = re.compile(r"(?<=[^\W_]{3}[.!?])\s+(?=\d)")  # ICU sees a number in "was in 1934. 1937 is"
_GERMAN_DAY = re.compile(r"\b(?:am|vom|zum|bis|den|dem|der)\s+\d{1,2}\.\s*$")


def sentences(text: str) -> Iterator[str]:
    """Split a text into sentences: at line ends, but not after "Dr.", "U.S." and initials."""
    for line in text.splitlines():
        open_piece = ""
        for piece in SentenceBreaker(line, _ROOT):
            open_piece += piece
            if not _goes_on(open_piece):
                yield from filter(None, map(str.strip, _BEFORE_NUMBER.split(open_piece)))
                open_piece = ""
        if open_piece.strip():
            yield open_piece.strip()


def words(text: str) -> list[tuple[str, bool]]:
    """Return the words of a text: what holds a letter or a digit, joined at hyphens and middle dots.

    Returns:
        Each word, and whether only a space, or the full stop of an initial, separates it from the one before.
    """
    found: list[tuple[str, bool]] = []
    between, open_word = "", False
    for piece in WordBreaker(text.replace("\u2019", "'"), _ROOT):
        is_word = any(map(str.isalnum, piece))
        if is_word and open_word and between in _JOINERS:
            before, near = found[-1]
            found[-1] = (before + between + piece, near)
        elif is_word:
            initial = bool(found) and between.strip() == "." and len(found[-1][0]) < 4
            found.append((piece, initial or not between.strip()))
        between = "" if is_word else between + piece
        open_word = open_word or is_word
    return found


def _goes_on(piece: str) -> bool:
    piece = piece.rstrip()[-_LOOK_BACK:]
    match = _ABBREVIATED.search(piece)
    if match is None:
        return False
    if match[1] == "I" and _NUMBERED.search(piece[: match.start()]):
        return False
    word = match[1].lower()
    initial = (len(word) == 1 and word.isalpha()) or re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]", word)
    return bool(initial) or word in ABBREVIATIONS or _GERMAN_DAY.search(piece) is not None
