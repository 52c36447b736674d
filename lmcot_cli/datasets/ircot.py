"""IRCoT's annotated questions: `paragraphs` as pairs of title and text, and a human `rationale`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmcot_cli.datasets import native
from lmcot_cli.datasets.names import USUAL, Paths
from lmcot_cli.datasets.row import Row


def matches(record: Mapping[str, Any]) -> bool:
    """Recognise a record by its having pairs as paragraphs in place of a context."""
    paragraphs = record.get("paragraphs")
    pairs = isinstance(paragraphs, list) and (not paragraphs or isinstance(paragraphs[0], list))
    return pairs and "context" not in record


def to_row(record: Mapping[str, Any], line: int, paths: Paths = USUAL) -> Row:
    """Make a row of a record: its parts are those of the native layout.

    Raises:
        RowError: A part is missing or of the wrong type.
    """
    return native.to_row(record, line, paths)
