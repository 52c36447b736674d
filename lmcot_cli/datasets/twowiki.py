"""2WikiMultiHopQA's layout: HotpotQA's with evidence triples, entity ids and, in some copies, aliases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmcot_cli.datasets import native
from lmcot_cli.datasets.names import USUAL, Paths
from lmcot_cli.datasets.row import Row

_OWN_KEYS = frozenset({"evidences", "evidences_id", "entity_ids", "answer_id"})


def matches(record: Mapping[str, Any]) -> bool:
    """Recognise a record by the keys that 2WikiMultiHopQA added to HotpotQA's."""
    return "context" in record and not _OWN_KEYS.isdisjoint(record)


def to_row(record: Mapping[str, Any], line: int, paths: Paths = USUAL) -> Row:
    """Make a row of a record; aliases and demonyms of the answer are accepted answers.

    Raises:
        RowError: A part is missing or of the wrong type.
    """
    return native.to_row(record, line, paths, aliases=("aliases", "demonyms"))
