"""Gold answers in columns where they are not looked for: lmcot names them, so that none is missed silently."""

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
"""Names that are about answers but hold none: `is_answerable`, `answer_start`, `response_time`."""
_MOST_ITEMS = 20


def gold_like(columns: Mapping[str, Any]) -> list[str]:
    """Return the places that sound like gold answers and hold something, as paths for `--fields`.

    Places one level down, in objects or lists of objects, are included.
    """
    found = [name for name, value in columns.items() if _like_an_answer(name) and _says_something(value)]
    nested = [f"{name}.{inner}" for name, value in columns.items() for inner in _like_inside(value)]
    return [name for name in found if not any(one.startswith(f"{name}.") for one in nested)] + nested


def says_unanswerable(columns: Mapping[str, Any]) -> bool:
    """Return whether a row says that its question has no answer, as rows of SQuAD 2 do."""
    said = {spelt_usually(name): value for name, value in columns.items()}
    return said.get("is_impossible") is True or False in (said.get("answerable"), said.get("is_answerable"))


def name_lost_gold(rows: Iterable[Row | BadRow], source: str) -> Iterator[Row | BadRow]:
    """Yield rows, and warn about the first one whose gold answer seems to be in another column."""
    told = False
    for row in rows:
        if not told and isinstance(row, Row) and (place := lost_gold(row)):
            told = True
            _log.warning("%s:%d: %s", source, row.line, place)
        yield row


def lost_gold(row: Row) -> str | None:
    """Return which column of a row without a gold answer looks like one, and how to read it; None if none does."""
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
