"""MuSiQue's layout: `paragraphs` of objects with a title and a text, an `answer` and its `answer_aliases`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lmcot_cli.datasets import fields, native
from lmcot_cli.datasets.names import USUAL, Paths
from lmcot_cli.datasets.row import Row

_HOPS_IN_ID = re.compile(r"\dhop\d?(?=__)")


def matches(record: Mapping[str, Any]) -> bool:
    """Recognise a record by its question decomposition or by what its paragraphs call their text."""
    paragraphs = record.get("paragraphs")
    first = paragraphs[0] if isinstance(paragraphs, list) and paragraphs else None
    own = isinstance(first, Mapping) and "paragraph_text" in first
    return "paragraphs" in record and ("question_decomposition" in record or own)


def to_row(record: Mapping[str, Any], line: int, paths: Paths = USUAL) -> Row:
    """Make a row of a record; its type is the kind of chain that its id starts with (`2hop`, `3hop1`, ...).

    Raises:
        RowError: A part is missing or of the wrong type.
    """
    row = native.to_row(record, line, paths)
    hops = _HOPS_IN_ID.match(row.id)
    marked = _supporting(record["paragraphs"])
    supporting = tuple(
        place for place in marked if place < len(row.context)
    )  # the context may be another column
    return replace(
        row,
        type=hops[0] if hops else None,
        supporting=supporting,
        supporting_sentences=tuple(fields.sentences_of(supporting, row.context)),
    )


def _supporting(paragraphs: object) -> tuple[int, ...]:
    marked = paragraphs if isinstance(paragraphs, list) else []
    return tuple(
        index
        for index, item in enumerate(marked)
        if isinstance(item, Mapping) and item.get("is_supporting") is True
    )
