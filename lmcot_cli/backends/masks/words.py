"""Where the words of a text begin and end, in any script."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Scripts without spaces between words, or with endings attached to them (Korean): each character is a word.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x9FFF),  # Han
    (0xAC00, 0xD7AF),  # Hangul syllables
    (0xF900, 0xFAFF),  # Han, compatibility forms
    (0x20000, 0x3FFFF),  # Han, rare characters
)

_CHUNK = re.compile("(?:[wd]m*|(?<=d)s(?=d))+|[ups]m*|m+")
_LONE_MARKS = re.compile("(?<= )[psm]+(?= )")
_WORD_KINDS = "wdum"
_JOINTS = "'.\N{RIGHT SINGLE QUOTATION MARK}"


def edges(text: str) -> tuple[list[int], list[int]]:
    """Return where a run of whole words may begin and where it may end, both as indices into `text`.

    Punctuation may belong to the word that it touches (`$5`, `U.S.`). No run begins right after the apostrophe or the
    full stop of another word (`Temple's`, `U.S.`), or ends right before such a full stop. The marks inside a number
    (1,000.5) do not split it.
    """
    padded = f" {''.join(map(_kind, text))} "  # padded[index + 1] is the kind of the character at `index`
    padded = _LONE_MARKS.sub(lambda found: " " * len(found[0]), padded)
    kinds = padded[1:-1]
    starts, ends = [], []
    for chunk in _CHUNK.finditer(kinds):
        begin, end = chunk.span()
        word = kinds[begin] in _WORD_KINDS
        before, after = padded[begin], padded[end + 1]
        opens = before not in _WORD_KINDS and after != " "
        closes = after not in _WORD_KINDS and before != " "
        if not _is_joint(text, padded, begin - 1) if word else opens:
            starts.append(begin)
        if text[end : end + 1] != "." or not _is_joint(text, padded, end) if word else closes:
            ends.append(end)
    return starts, ends


def _is_joint(text: str, padded: str, index: int) -> bool:
    """Return whether the character at `index` joins two words."""
    sides = padded[index : index + 3 : 2]
    return index > 0 and text[index] in _JOINTS and all(side in _WORD_KINDS for side in sides)


@lru_cache(8192)
def _kind(character: str) -> str:
    """Return the kind of a character.

    `d` digit, `m` combining mark, `s` separator within numbers, `u` letter of a script without spaces, `w` other
    letter, `p` anything else that is visible, or a space.
    """
    if character.isspace():
        return " "
    if character in ".,":
        return "s"
    if unicodedata.category(character)[0] == "M":
        return "m"
    code = ord(character)
    if any(first <= code <= last for first, last in _UNSPACED) and character.isalnum():
        return "u"
    if character.isdigit():
        return "d"
    return "w" if character.isalnum() or character == "_" else "p"
