"""lmcot's own layout: `id`, `question`, `context`, and more where there is more.

That is `answer`, `type`, `rationale`, `supporting` and `supporting_sentences`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lmcot_cli.datasets import fields
from lmcot_cli.datasets.row import Row


def matches(record: Mapping[str, Any]) -> bool:
    """Take every record: what is no other layout is meant to be this one."""
    return True


def to_row(record: Mapping[str, Any], line: int) -> Row:
    """Make a row of a record.

    Raises:
        RowError: A field is missing or of the wrong type.
    """
    row = Row(
        id=fields.identifier(record, line),
        question=fields.question(record),
        context=fields.paragraphs(record),
        answers=fields.answers(record),
        type=fields.optional_text(record, "type"),
        rationale=fields.optional_text(record, "rationale"),
        line=line,
    )
    return replace(
        row,
        supporting=fields.supporting(record, row.context),
        supporting_sentences=fields.supporting_sentences(record, row.context),
    )


def to_record(row: Row) -> dict[str, Any]:
    """Make the record that reads back as `row`; keys without a value are left out."""
    record: dict[str, Any] = {
        "id": row.id,
        "question": row.question,
        "context": [[paragraph.title, list(paragraph.sentences)] for paragraph in row.context],
    }
    if row.answers:
        record["answer"] = row.answers[0] if len(row.answers) == 1 else list(row.answers)
    sentences = [list(position) for position in row.supporting_sentences]
    optional = {
        "type": row.type,
        "rationale": row.rationale,
        "supporting": list(row.supporting) or None,
        "supporting_sentences": sentences or None,
    }
    return record | {key: value for key, value in optional.items() if value is not None}
