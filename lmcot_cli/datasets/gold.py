"""Gold answers that a row has somewhere else than they are looked for: they are named, so that none is lost unseen."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmcot_cli.datasets.names import holds, spelt_usually
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row

_log = logging.getLogger(__name__)
_LIKE_AN_ANSWER = re.compile(
    r"answer|gold|label|target|solution|truth|reference|expected|response|completion|correct|^(?:gt|ans|a|y)$"
)
_ABOUT_ANSWERS = re.compile(
    r"answerable|impossible|plausible|^(?:is|has|num|n)_|_(?:start|end|type|count|length|lang|language|time|score)s?$"
)
"""What is said of answers and is none: `is_answerable`, `answer_start`, `response_time`."""
_MOST_ITEMS = 20


def gold_like(columns: Mapping[str, Any]) -> list[str]:
    """Return the places that sound as if they held gold answers and hold something, as paths for `--fields`.

    Those within objects, or lists of these, are found too, one level down.
    """
    found = [name for name, value in columns.items() if _like_an_answer(name) and _says_something(value)]
    nested = [f"{name}.{inner}" for name, value in columns.items() for inner in _like_inside(value)]
    return [name for name in found if not any(one.startswith(f"{name}.") for one in nested)] + nested


def says_unanswerable(columns: Mapping[str, Any]) -> bool:
    """Whether a row says that its question has no answer, as those of SQuAD 2 do."""
    said = {spelt_usually(name): value for name, value in columns.items()}
    return said.get("is_impossible") is True or False in (said.get("answerable"), said.get("is_answerable"))


def name_lost_gold(rows: Iterable[Row | BadRow], source: str) -> Iterator[Row | BadRow]:
    """Pass rows on; of the first that has no gold answer where it is looked for, but maybe elsewhere, say so."""
    told = False
    for row in rows:
        if not told and isinstance(row, Row) and (place := lost_gold(row)):
            told = True
            _log.warning("%s:%d: %s", source, row.line, place)
        yield row


def lost_gold(row: Row) -> str | None:
    """Say which column of a row without a gold answer looks like one, and how it is read; None for none."""
    if row.answers or says_unanswerable(row.extra):
        return None
    places = gold_like(row.extra)
    if not places:
        return None
    return f"column {places[0]!r} looks like gold answers; --fields answer={places[0]} reads it"


def _like_an_answer(name: str) -> bool:
    return bool(_LIKE_AN_ANSWER.search(spelt_usually(name))) and not _ABOUT_ANSWERS.search(
        spelt_usually(name)
    )


def _says_something(value: object) -> bool:
    return holds(value) and value != {}


def _like_inside(value: object) -> list[str]:
    items = value[:_MOST_ITEMS] if isinstance(value, list) else [value]
    objects = [item for item in items if isinstance(item, Mapping)]
    return list(
        dict.fromkeys(
            name
            for item in objects
            for name, inner in item.items()
            if isinstance(name, str) and _like_an_answer(name) and _says_something(inner)
        )
    )
