"""When two answers are the same: only if they are two spellings of one value.

Case, articles and punctuation around words make no difference, as in the official scorers. But a scorer deletes every
sign, so that 1.5 is 15, -4 is 4 and C++ is C; a vote must not merge different values. What counts here:

- a sign, a decimal point, a percent sign, a currency or a comparison at a number; separators between digits (2:1, 3-2);
- `+` and `#` at the end of a word (C++, C#), and the one letter of "Vitamin A";
- 1,000 is 1000; an answer that is a number alone is that number (1.50 is 1.5), as is a date in words that date.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from decimal import Decimal
from functools import lru_cache

_DASHES = re.compile(r"[\u2010-\u2015\u2212\ufe63\uff0d]")
_APOSTROPHES = re.compile(r"[\u2018\u2019\u02bc\u00b4`]")
_QUOTES = re.compile(r"[\u201c-\u201f\u00ab\u00bb\u300c-\u300f]")
_WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3002: ".", 0x3000: " "}
_RANGE = re.compile(r"(?<=\d)\s*-\s*(?=\d)")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_PERCENT = re.compile(r"(?<=\d)\s*(?:%|percent\b|per cent\b)")
_CURRENCY_AFTER = re.compile(r"(?P<number>\d[\d.,]{0,60})\s*(?P<sign>[$\u20ac\u00a3\u00a5])(?!\w)")
_SIGNED = re.compile(
    r"(?<![\w.)])(?:(?P<sign>[-+])(?P<unit>[$\u20ac\u00a3\u00a5]?)|(?P<first>[$\u20ac\u00a3\u00a5])\s?(?P<then>[-+]?))(?P<digit>\.?\d)"
)
_COMPARED = re.compile(r"[<>\u2264\u2265~\u2248]\s*(?=[-+]?[$\u20ac\u00a3\u00a5]?\.?\d)")
_NUMBER = re.compile(r"([-+]?)([$\u20ac\u00a3\u00a5]?)(\d*\.?\d+|\d+\.)(%?)")
_ARTICLES = re.compile(r"(?<![\w+#-])(?:(?i:the)|a|an|(?<!\S)(?:A|An|AN))\s+(?=\S)")
_INSIDE_NUMBER = re.compile(
    r"(?<=\d)[.:/,*^=-](?=[-+]?\d)|(?<![\w.])[-+](?=[$\u20ac\u00a3\u00a5]?\.?\d)|(?<=[a-z])[+#]+(?!\w)|(?<=[a-z)])\^(?=[-\w])"
)
_SIGNS_AT_NUMBERS = re.compile(
    r"(?<=\d)%|\$(?=\.?\d)|[<>~](?=[-+$]*\.?\d)|(?<=[=(])-(?=\d)|(?<![\w.])\.(?=\d)|(?<=[-+$])\.(?=\d)"
)
_GRADE = re.compile(r"^[a-z][+-]$")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH = r"(?P<month>[a-z]{3,9})\.?"
_DATES = [
    re.compile(pattern)
    for pattern in (
        rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)?\s+{_MONTH},?\s+(?P<year>\d{{4}})",
        rf"{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})",
    )
]


@lru_cache(maxsize=4096)  # the samples of a row repeat a few answers, at every wave
def answer_key(answer: str) -> str:
    """Return a string that is the same for two answers if and only if they have the same value."""
    if answer.lstrip()[:1] in ("{", "[") and (value := _json_key(answer)):
        return value
    text = _plain(answer)
    return (
        _number_key(text)
        or _date_key(text.lower())
        or _words_key(text)
        or " ".join(answer.casefold().split())
    )


def _json_key(answer: str) -> str | None:
    try:
        return json.dumps(json.loads(answer), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return None


def _plain(answer: str) -> str:
    """Return a text with one form of equivalent signs, and numbers without separators of thousands."""
    text = unicodedata.normalize("NFC", answer).translate(_WIDE)
    text = _DASHES.sub("-", _APOSTROPHES.sub("'", _QUOTES.sub('"', text)))
    text = _RANGE.sub("-", _PERCENT.sub("%", text))
    text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    text = _CURRENCY_AFTER.sub(r"\g<sign>\g<number>", text)
    text = _COMPARED.sub(lambda found: found[0].strip(), text)
    text = _SIGNED.sub(_sign_first, text)
    return " ".join(text.split())


def _sign_first(found: re.Match[str]) -> str:
    """Return a match with the sign before the currency, and no plus."""
    sign = (found["sign"] or found["then"] or "").replace("+", "")
    return f"{sign}{found['unit'] or found['first'] or ''}{found['digit']}"


def _number_key(text: str) -> str | None:
    """Return the value of an answer that is only a number."""
    bare = text.strip("\"'() ")
    found = _NUMBER.fullmatch(bare.rstrip(".")) if len(bare) < 100 else None
    if not found or re.match(r"0\d", found[3]):  # 007 is a name
        return None
    value = format(Decimal(found[3]).normalize(), "f")
    sign = "-" if found[1] == "-" and value != "0" else ""
    return f"{sign}{found[2]}{value}{found[4]}"


def _date_key(text: str) -> str | None:
    """Return an answer that is a date with the month in English words as year, month and day."""
    for pattern in _DATES:
        found = pattern.fullmatch(text.strip("\"'(). "))
        if found and (month := _month(found["month"])):
            return f"{found['year']}-{month:02}-{int(found['day']):02}"
    return None


def _month(word: str) -> int | None:
    short = word.removesuffix("t") if word == "sept" else word
    return next((at for at, name in enumerate(_MONTHS, 1) if short in (name, name[:3])), None)


def _words_key(text: str) -> str:
    """Lowercase, drop articles and the punctuation at words; keep the signs that make a value of its own."""
    lowered = _ARTICLES.sub("", text).casefold()
    if _GRADE.match(lowered):
        return lowered
    kept = {
        found.start() + at
        for pattern in (_INSIDE_NUMBER, _SIGNS_AT_NUMBERS)
        for found in pattern.finditer(lowered)
        for at in range(len(found[0]))
    }
    signs = set(string.punctuation)
    return " ".join("".join(one for at, one in enumerate(lowered) if one not in signs or at in kept).split())
