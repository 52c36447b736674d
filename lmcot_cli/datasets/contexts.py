"""The context of a row, read from the many forms in which files keep passages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmcot_cli.datasets.names import Place
from lmcot_cli.datasets.record import json_type
from lmcot_cli.datasets.row import Paragraph
from lmcot_cli.datasets.unpack import unpacked_or_none
from lmcot_cli.errors import RowError

TITLES = ("title", "name", "heading")
TEXTS = (
    "text", "content", "contents", "sentences", "body", "paragraph_text", "page_content", "passage", "passage_text",
    "snippet", "contexts", "wiki_context", "search_context",
)  # fmt: skip
"""The keys of title and text in paragraphs that are objects; the first that exists is used."""

_FORMS = "a string, a list of strings, [[title, [sentences]], ...] or [{title, text}, ...]"
_A_FORM = "a string, [title, [sentences]] or {title, text}"


def paragraphs(place: Place) -> tuple[Paragraph, ...]:
    """Return the paragraphs of the context.

    The context is a string, a list of strings, pairs of a title and its sentences or text, objects with a title and a
    text, or an object of columns such as `{"title": [...], "sentences": [[...], ...]}`; each may also be JSON in a
    string. A missing, null or blank context has no paragraphs.

    Raises:
        RowError: The value or one of its elements has another form; the message names the element.
    """
    key, value = place
    if isinstance(value, str):
        value = _from_string(value)
    if value is None:
        return ()
    if isinstance(value, Mapping):
        value = _from_object(value, key)
    if not isinstance(value, list):
        raise RowError(f'"{key}" must be {_FORMS}, found {json_type(value)}')
    found = tuple(_paragraph(item, f'"{key}"[{index}]') for index, item in enumerate(value))
    blank = all(not isinstance(item, list) for item in value) and not any(one.text.strip() for one in found)
    return () if blank else found


def _from_string(text: str) -> object:
    """Return what a string encodes if that can be a context, else the string as the only paragraph."""
    spelt = unpacked_or_none(text)
    if isinstance(spelt, Mapping) and not _first(spelt, TEXTS):
        spelt = None
    if isinstance(spelt, list) and any(not isinstance(item, str | list | Mapping) for item in spelt):
        spelt = None
    return [text] if spelt is None else spelt


def _from_object(value: Mapping[str, Any], key: str) -> list[Any]:
    """Return the paragraphs of an object: one paragraph, or columns."""
    title, text = _first(value, TITLES), _first(value, TEXTS)
    if text is None:
        raise RowError(
            f'"{key}" is an object without "title" and "sentences" or "text"; name the place with --fields context=...'
        )
    texts = value[text]
    titles = value[title] if title else None
    if not isinstance(texts, list) or isinstance(titles, str) or (title is None and text == "sentences"):
        return [value]
    if title is None:
        return texts
    if not isinstance(titles, list) or len(titles) != len(texts):
        raise RowError(f'"{key}" must have lists "{title}" and "{text}" of the same length')
    return [list(pair) for pair in zip(titles, texts, strict=True)]


def _first(value: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if value.get(name) is not None), None)


def _paragraph(item: object, place: str) -> Paragraph:
    if isinstance(item, str):
        return Paragraph("", (item,))
    if isinstance(item, Mapping):
        return _of_object(item, place)
    if not isinstance(item, list) or len(item) != 2:
        found = f"a list of {len(item)}" if isinstance(item, list) else json_type(item)
        raise RowError(f"{place} must be {_A_FORM}, found {found}")
    title, body = item
    if not isinstance(title, str):
        raise RowError(f"{place} has {json_type(title)} as its title, not a string")
    return Paragraph(title, _sentences(body, place))


def _of_object(item: Mapping[str, Any], place: str) -> Paragraph:
    title, text = _first(item, TITLES), _first(item, TEXTS)
    if text is None:
        raise RowError(
            f'{place} is an object without "text"; name the place of the texts with --fields context=...'
        )
    heading = item[title] if title else ""
    if not isinstance(heading, str):
        raise RowError(f"{place} has {json_type(heading)} as its title, not a string")
    return Paragraph(heading, _sentences(item[text], place))


def _sentences(body: object, place: str) -> tuple[str, ...]:
    sentences = [body] if isinstance(body, str) else body
    if not isinstance(sentences, list):
        raise RowError(f"{place} has {json_type(body)} as its sentences, not a list of strings")
    for sentence in sentences:
        if not isinstance(sentence, str):
            raise RowError(f"{place} has {json_type(sentence)} among its sentences, not a string")
    return tuple(sentences)
