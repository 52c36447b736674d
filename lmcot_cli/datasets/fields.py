"""The fields that every layout has, read from a JSON object and checked.

A field of the wrong type is a `RowError` that says what was found and what is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

from lmcot_cli.datasets.records import json_type
from lmcot_cli.datasets.row import Paragraph
from lmcot_cli.errors import RowError

_CONTEXT_FORMS = "a string, a list of strings, or [[title, [sentences]], ...]"


def identifier(record: Mapping[str, Any], line: int) -> str:
    """Read `id` or `_id`; a number becomes its digits, and where there is neither the line number serves.

    Raises:
        RowError: The id is neither a string nor a whole number, or empty.
    """
    key = "id" if record.get("id") is not None else "_id"
    value = record.get(key)
    if value is None:
        return str(line)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(f'"{key}" must be a string or a whole number, found {json_type(value)}')
    if value == "":
        raise RowError(f'"{key}" is empty: give it a value, or leave it out to use the line number')
    return str(value)


def question(record: Mapping[str, Any]) -> str:
    """Read `question`.

    Raises:
        RowError: It is missing, empty or not a string.
    """
    if "question" not in record:
        raise RowError('there is no "question"')
    value = record["question"]
    if not isinstance(value, str):
        raise RowError(f'"question" must be a string, found {json_type(value)}')
    if not value.strip():
        raise RowError('"question" is empty')
    return value


def answers(record: Mapping[str, Any], *alias_keys: str) -> tuple[str, ...]:
    """Read the accepted answers: `answer` first, then those under `alias_keys`; see `texts`."""
    return texts(record, "answer", *alias_keys)


def texts(record: Mapping[str, Any], *keys: str) -> tuple[str, ...]:
    """Read the answers under `keys`, each once.

    A missing, null or blank answer is none: test sets come without.

    Raises:
        RowError: One of the keys holds something else than a string or a list of strings.
    """
    found = [text for key in keys for text in _strings(record.get(key), key)]
    return tuple(dict.fromkeys(text for text in found if text.strip()))


def _strings(value: object, key: str) -> list[str]:
    if value is None:
        return []
    strings = []
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, str):
            inside = "a list with " if isinstance(value, list) else ""
            raise RowError(f'"{key}" must be a string or a list of strings, found {inside}{json_type(item)}')
        strings.append(item)
    return strings


def optional_text(record: Mapping[str, Any], key: str) -> str | None:
    """Read a string that no method depends on; anything else under that key counts as absent."""
    value = record.get(key)
    return value if isinstance(value, str) and value.strip() else None


def paragraphs(record: Mapping[str, Any], key: str = "context") -> tuple[Paragraph, ...]:
    """Read the context: a string, a list of strings, or pairs of a title and its sentences or text.

    An empty string or list is a context without paragraphs. HotpotQA's columns, an object
    `{"title": [...], "sentences": [[...], ...]}`, are read as pairs.

    Raises:
        RowError: The key is missing, or an element has none of these forms; the message names the element.
    """
    if key not in record:
        raise RowError(f'there is no "{key}": give {_CONTEXT_FORMS}; [] for none')
    value = record[key]
    if isinstance(value, str):
        return (Paragraph("", (value,)),) if value.strip() else ()
    if isinstance(value, dict):
        value = _pairs_of_columns(value, key)
    if not isinstance(value, list):
        raise RowError(f'"{key}" must be {_CONTEXT_FORMS}, found {json_type(value)}')
    return tuple(_paragraph(item, f'"{key}"[{index}]') for index, item in enumerate(value))


def supporting(record: Mapping[str, Any], context: tuple[Paragraph, ...]) -> tuple[int, ...]:
    """Find the paragraphs that the question needs, as positions in the context.

    They stand in `supporting`, as such positions, or in HotpotQA's `supporting_facts`, a list of [title, sentence
    number] or the same as columns. No answer depends on them, so anything of another form counts as absent.
    """
    positions = record.get("supporting")
    if isinstance(positions, list):
        return tuple(position for position in range(len(context)) if position in positions)
    titles = _titles(record.get("supporting_facts"))
    return tuple(position for position, paragraph in enumerate(context) if paragraph.title in titles)


def supporting_sentences(
    record: Mapping[str, Any], context: tuple[Paragraph, ...]
) -> tuple[tuple[int, int], ...]:
    """Find the sentences that the question needs, as positions of the paragraph and of the sentence in it.

    They stand in `supporting_sentences`, as such positions, or in HotpotQA's `supporting_facts` (see `supporting`).
    A record that names paragraphs only names all sentences of these. What is not there counts as absent.
    """
    pairs = record.get("supporting_sentences")
    if not isinstance(pairs, list):
        places = {paragraph.title: place for place, paragraph in reversed([*enumerate(context)])}
        pairs = [[places.get(title), number] for title, number in _facts(record.get("supporting_facts"))]
    there = sentences_of(range(len(context)), context)
    named = [tuple(pair) for pair in pairs if isinstance(pair, list)]
    found = dict.fromkeys(there[there.index(pair)] for pair in named if pair in there)
    return tuple(found or sentences_of(supporting(record, context), context))


def sentences_of(paragraphs: Iterable[int], context: tuple[Paragraph, ...]) -> list[tuple[int, int]]:
    """Return the positions of all sentences of some paragraphs."""
    return [(place, number) for place in paragraphs for number in range(len(context[place].sentences))]


def _titles(facts: object) -> set[str]:
    return {title for title, _ in _facts(facts)}


def _facts(facts: object) -> list[tuple[str, object]]:
    """Read pairs of a title and a sentence number, or the same as columns."""
    if isinstance(facts, dict):
        columns = [facts.get(key) for key in ("title", "sent_id")]
        titles, numbers = (column if isinstance(column, list) else [] for column in columns)
        pairs = [list(pair) for pair in zip_longest(titles, numbers[: len(titles)])]
    else:
        pairs = facts if isinstance(facts, list) else []
    found = [(*pair, None)[:2] for pair in pairs if isinstance(pair, list) and pair]
    return [(title, number) for title, number in found if isinstance(title, str)]


def _pairs_of_columns(columns: Mapping[str, Any], key: str) -> list[list[Any]]:
    titles, sentences = columns.get("title"), columns.get("sentences")
    if not isinstance(titles, list) or not isinstance(sentences, list) or len(titles) != len(sentences):
        raise RowError(f'"{key}" is an object without equally long lists "title" and "sentences"')
    return [list(pair) for pair in zip(titles, sentences, strict=True)]


def _paragraph(item: object, place: str) -> Paragraph:
    if isinstance(item, str):
        return Paragraph("", (item,))
    if not isinstance(item, list) or len(item) != 2:
        found = f"a list of {len(item)}" if isinstance(item, list) else json_type(item)
        raise RowError(f"{place} must be a string or [title, [sentences]], found {found}")
    title, body = item
    if not isinstance(title, str):
        raise RowError(f"{place} has {json_type(title)} as its title, not a string")
    sentences = [body] if isinstance(body, str) else body
    if not isinstance(sentences, list):
        raise RowError(f"{place} has {json_type(body)} as its sentences, not a list of strings")
    for sentence in sentences:
        if not isinstance(sentence, str):
            raise RowError(f"{place} has {json_type(sentence)} among its sentences, not a string")
    return Paragraph(title, tuple(sentences))
