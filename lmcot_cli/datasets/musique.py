"""MuSiQue's layout: `paragraphs` of objects with a title and a text, an `answer` and its `answer_aliases`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lmcot_cli.datasets import fields
from lmcot_cli.datasets.records import json_type
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import RowError

_HOPS_IN_ID = re.compile(r"\dhop\d?(?=__)")


def matches(record: Mapping[str, Any]) -> bool:
    """Recognise a record by its question decomposition or its paragraphs being objects."""
    paragraphs = record.get("paragraphs")
    objects = isinstance(paragraphs, list) and bool(paragraphs) and isinstance(paragraphs[0], dict)
    return "paragraphs" in record and ("question_decomposition" in record or objects)


def to_row(record: Mapping[str, Any], line: int) -> Row:
    """Make a row of a record; its type is the kind of chain that its id starts with (`2hop`, `3hop1`, ...).

    Raises:
        RowError: A field is missing or of the wrong type.
    """
    row_id = fields.identifier(record, line)
    context, supporting = _paragraphs(record["paragraphs"]), _supporting(record["paragraphs"])
    hops = _HOPS_IN_ID.match(row_id)
    return Row(
        id=row_id,
        question=fields.question(record),
        context=context,
        answers=fields.answers(record, "answer_aliases"),
        type=hops[0] if hops else None,
        rationale=fields.optional_text(record, "rationale"),
        line=line,
        supporting=supporting,
        supporting_sentences=tuple(fields.sentences_of(supporting, context)),
    )


def _paragraphs(value: object) -> tuple[Paragraph, ...]:
    if not isinstance(value, list):
        raise RowError(f'"paragraphs" must be a list of objects, found {json_type(value)}')
    return tuple(_paragraph(item, index) for index, item in enumerate(value))


def _supporting(paragraphs: list[dict[str, Any]]) -> tuple[int, ...]:
    return tuple(index for index, item in enumerate(paragraphs) if item.get("is_supporting") is True)


def _paragraph(item: object, index: int) -> Paragraph:
    if not isinstance(item, dict):
        raise RowError(f'"paragraphs"[{index}] must be an object, found {json_type(item)}')
    title, text = item.get("title", ""), item.get("paragraph_text")
    if not isinstance(title, str) or not isinstance(text, str):
        raise RowError(f'"paragraphs"[{index}] must have strings as "title" and "paragraph_text"')
    return Paragraph(title, (text,))
