"""The parts that every layout has, read from a record and checked.

A part of the wrong type raises a `RowError` that says what was found and what is expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

from lmcot_cli.datasets.names import Named, Place
from lmcot_cli.datasets.record import json_type
from lmcot_cli.datasets.row import Paragraph
from lmcot_cli.datasets.unpack import unpacked, unpacked_or_none
from lmcot_cli.errors import RowError

_ANSWER_KEYS = ("text", "value", "aliases", "spans", "number", "date", "answer")
"""Keys of answers in objects: `text` (SQuAD), `value`, `aliases` (TriviaQA), the next three (DROP), `answer` (KILT)."""
_DATE = ("day", "month", "year")


def identifier(place: Place, line: int) -> str:
    """Return the id; a number becomes its digits, and a missing id the line number.

    Raises:
        RowError: The id is neither a string nor a whole number, or empty.
    """
    key, value = place
    if value is None:
        return str(line)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(f'"{key}" must be a string or a whole number, found {json_type(value)}')
    if value == "":
        raise RowError(f'"{key}" is empty: give it a value, or leave it out to use the line number')
    return str(value)


def question(named: Named) -> str:
    """Return the question.

    Raises:
        RowError: It is missing, empty or not a string.
    """
    key, value = named.place("question")
    if "question" not in named.places:
        raise RowError(f'there is no "{key}"; if another column has the question: --fields question=COLUMN')
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):  # Natural Questions
        value = value["text"]
    if not isinstance(value, str):
        raise RowError(f'"{key}" must be a string, found {json_type(value)}')
    if not value.strip():
        raise RowError(f'"{key}" is empty')
    return value


def texts(record: Mapping[str, Any], *keys: str) -> tuple[str, ...]:
    """Return the answers under `keys`; see `answers`."""
    return answers(*(Place(key, record.get(key)) for key in keys))


def answers(*places: Place) -> tuple[str, ...]:
    """Return the accepted answers at some places, each once.

    Missing, null and blank answers are left out, also in lists: test sets have none. A number becomes its digits; true
    and false become `yes` and `no`. A list, or an object as in SQuAD and TriviaQA, may also be JSON in a string.

    Raises:
        RowError: One of the places holds something else.
    """
    found = [text for place in places for text in _strings(place.value, place.path)]
    return tuple(dict.fromkeys(text for text in found if text.strip()))


def _strings(value: object, key: str) -> list[str]:
    if isinstance(value, str):
        value = _from_string(value, key)
    if isinstance(value, Mapping):
        value = _from_object(value, key)
    if value is None:
        return []
    if not isinstance(value, list):
        return [_text(value, key, "")]
    flat = [
        one for item in value for one in (item if isinstance(item, list) else [item])
    ]  # several annotators
    items = [_from_object(item, key) if isinstance(item, Mapping) else [item] for item in flat]
    return [_text(item, key, "a list with ") for several in items for item in several if item is not None]


def _from_string(text: str, key: str) -> object:
    """Return the list of strings or the object that a string encodes, else the string itself."""
    try:
        spelt = unpacked(text)
    except RowError as error:
        raise RowError(f'"{key}" {error}') from error
    strings = isinstance(spelt, list) and all(isinstance(item, str) for item in spelt)
    known = isinstance(spelt, Mapping) and any(name in spelt for name in _ANSWER_KEYS)
    return spelt if strings or known else text


def _from_object(value: Mapping[str, Any], key: str) -> list[Any]:
    held = [_dated(value[name]) for name in _ANSWER_KEYS if value.get(name) is not None]
    if value and not held and not any(name in value for name in _ANSWER_KEYS):
        raise RowError(
            f'"{key}" must be a string or a list of strings, found an object;'
            f" name the place of the answer in it: --fields answer={key}.{next(iter(value), '...')}"
        )
    return [text for item in held for text in (item if isinstance(item, list) else [item])]


def _dated(value: Any) -> Any:
    """Return a date of DROP, an object of day, month and year, as one text; anything else unchanged."""
    if not isinstance(value, Mapping) or not value.keys() <= {*_DATE}:
        return value
    return " ".join(str(value[part]) for part in _DATE if value.get(part))


def _text(value: object, key: str, inside: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and abs(value) < float("inf"):
        return str(int(value)) if value.is_integer() else repr(value)
    raise RowError(f'"{key}" must be a string or a list of strings, found {inside}{json_type(value)}')


def text_or_none(value: object) -> str | None:
    """Return a value if it is a string that is not blank, else None; no method depends on it."""
    return value if isinstance(value, str) and value.strip() else None


def optional_text(record: Mapping[str, Any], key: str) -> str | None:
    """Return such a string from a record."""
    return text_or_none(record.get(key))


def supporting(record: Mapping[str, Any], context: tuple[Paragraph, ...]) -> tuple[int, ...]:
    """Return the paragraphs that the question needs, as positions in the context.

    They are given in `supporting`, as such positions, or in HotpotQA's `supporting_facts`, a list of [title, sentence
    number] or the same as columns. No answer depends on them, so other forms count as absent.
    """
    positions = record.get("supporting")
    if isinstance(positions, list):
        return tuple(position for position in range(len(context)) if position in positions)
    titles = {title for title, _ in _facts(record)}
    return tuple(position for position, paragraph in enumerate(context) if paragraph.title in titles)


def supporting_sentences(
    record: Mapping[str, Any], context: tuple[Paragraph, ...]
) -> tuple[tuple[int, int], ...]:
    """Return the sentences that the question needs, as positions of the paragraph and of the sentence in it.

    They are given in `supporting_sentences`, as such positions, or in HotpotQA's `supporting_facts` (see `supporting`).
    If a record names only paragraphs, all their sentences count. Positions that do not exist are left out.
    """
    pairs = record.get("supporting_sentences")
    if not isinstance(pairs, list):
        places = {paragraph.title: place for place, paragraph in reversed([*enumerate(context)])}
        pairs = [[places.get(title), number] for title, number in _facts(record)]
    there = sentences_of(range(len(context)), context)
    named = [tuple(pair) for pair in pairs if isinstance(pair, list)]
    found = dict.fromkeys(there[there.index(pair)] for pair in named if pair in there)
    return tuple(found or sentences_of(supporting(record, context), context))


def sentences_of(paragraphs: Iterable[int], context: tuple[Paragraph, ...]) -> list[tuple[int, int]]:
    """Return the positions of all sentences of some paragraphs."""
    return [(place, number) for place in paragraphs for number in range(len(context[place].sentences))]


def _facts(record: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return `supporting_facts` as pairs of a title and a sentence number."""
    facts = record.get("supporting_facts")
    facts = unpacked_or_none(facts) if isinstance(facts, str) else facts
    if isinstance(facts, dict):
        columns = [facts.get(key) for key in ("title", "sent_id")]
        titles, numbers = (column if isinstance(column, list) else [] for column in columns)
        pairs = [list(pair) for pair in zip_longest(titles, numbers[: len(titles)])]
    else:
        pairs = facts if isinstance(facts, list) else []
    found = [(*pair, None)[:2] for pair in pairs if isinstance(pair, list) and pair]
    return [(title, number) for title, number in found if isinstance(title, str)]
