"""IRCoT's annotated questions: `paragraphs` as pairs of title and text, and a human `rationale`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmcot_cli.datasets import fields
from lmcot_cli.datasets.row import Row


def matches(record: Mapping[str, Any]) -> bool:
    """Recognise a record by its having paragraphs in place of a context."""
    return "paragraphs" in record and "context" not in record


def to_row(record: Mapping[str, Any], line: int) -> Row:
    """Make a row of a record.

    Raises:
        RowError: A field is missing or of the wrong type.
    """
    return Row(
        id=fields.identifier(record, line),
        question=fields.question(record),
        context=fields.paragraphs(record, "paragraphs"),
        answers=fields.answers(record),
        type=fields.optional_text(record, "type"),
        rationale=fields.optional_text(record, "rationale"),
        line=line,
    )
