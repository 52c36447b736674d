"""HotpotQA's layout (hotpotqa.github.io): `_id`, `question`, `context`, `answer`, `type`, `supporting_facts`.

MicroHop is written in it too. Test sets have neither answer nor supporting facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmcot_cli.datasets import native
from lmcot_cli.datasets.names import USUAL, Paths
from lmcot_cli.datasets.row import Row


def matches(record: Mapping[str, Any]) -> bool:
    """Recognise a record by its context with supporting facts or HotpotQA's spelling of the id."""
    return "context" in record and ("supporting_facts" in record or "_id" in record)


def to_row(record: Mapping[str, Any], line: int, paths: Paths = USUAL) -> Row:
    """Make a row of a record: its parts are those of the native layout, which was named after it.

    Raises:
        RowError: A field is missing or of the wrong type.
    """
    return native.to_row(record, line, paths)
