"""The layouts of question files: how their records are recognised and turned into rows.

lmcot's own layout follows HotpotQA's (hotpotqa.github.io), which MicroHop is written in. 2WikiMultiHopQA adds evidence
triples, entity ids and, in some copies, aliases. MuSiQue has `paragraphs` of objects with a title and a text; IRCoT's
annotated questions have pairs of these and a human `rationale`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from lmcot_cli.datasets import fields, native
from lmcot_cli.datasets.names import USUAL, Named, Paths, understand
from lmcot_cli.datasets.options import DEFAULT, RowOptions
from lmcot_cli.datasets.record import BadRow, Record
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import RowError

_OF_2WIKI = frozenset({"evidences", "evidences_id", "entity_ids", "answer_id"})
_HOPS_IN_ID = re.compile(r"\dhop\d?(?=__)")


class Layout(NamedTuple):
    """How one kind of record is recognised and turned into a row."""

    name: str
    matches: Callable[[Mapping[str, Any]], bool]
    to_row: Callable[[Mapping[str, Any], int, Paths], Row]


def _is_musique(record: Mapping[str, Any]) -> bool:
    decomposed = "question_decomposition" in record
    return "paragraphs" in record and (decomposed or "paragraph_text" in (_first(record, Mapping) or {}))


def _is_ircot(record: Mapping[str, Any]) -> bool:
    pairs = record.get("paragraphs") == [] or _first(record, list) is not None
    return pairs and "context" not in record


def _is_2wiki(record: Mapping[str, Any]) -> bool:
    return "context" in record and not _OF_2WIKI.isdisjoint(record)


def _is_hotpotqa(record: Mapping[str, Any]) -> bool:
    return "context" in record and ("supporting_facts" in record or "_id" in record)


def _first(record: Mapping[str, Any], kind: type) -> Any:
    """Return the first of a record's paragraphs if it is of a type."""
    paragraphs = record.get("paragraphs")
    first = paragraphs[0] if isinstance(paragraphs, list) and paragraphs else None
    return first if isinstance(first, kind) else None


def _musique_row(record: Mapping[str, Any], line: int, paths: Paths = USUAL) -> Row:
    """Return the row; its type is the kind of chain that its id starts with (`2hop`, `3hop1`, ...)."""
    row = native.to_row(record, line, paths)
    hops = _HOPS_IN_ID.match(row.id)
    paragraphs = record["paragraphs"] if isinstance(record["paragraphs"], list) else []
    marked = [isinstance(one, Mapping) and one.get("is_supporting") is True for one in paragraphs]
    # The context may be another column, with fewer paragraphs.
    supporting = tuple(place for place, is_marked in enumerate(marked[: len(row.context)]) if is_marked)
    return replace(
        row,
        type=hops[0] if hops else None,
        supporting=supporting,
        supporting_sentences=tuple(fields.sentences_of(supporting, row.context)),
    )


LAYOUTS = (
    Layout("musique", _is_musique, _musique_row),
    Layout("ircot", _is_ircot, native.to_row),
    Layout("2wikimultihopqa", _is_2wiki, partial(native.to_row, aliases=("aliases", "demonyms"))),
    Layout("hotpotqa", _is_hotpotqa, native.to_row),
    Layout("native", lambda record: True, native.to_row),
)
"""All layouts, special ones before general ones; the first that matches is used."""


def layout_of(record: Mapping[str, Any]) -> Layout:
    """Return the layout of a record."""
    return next(layout for layout in LAYOUTS if layout.matches(record))


def to_row(record: Record, options: RowOptions = DEFAULT) -> Row | BadRow:
    """Return a record of any layout as a row."""
    try:
        return layout_of(record.value).to_row(record.value, record.line, options.paths)
    except RowError as error:
        named = understand(record.value, options.paths)
        return BadRow(_usable_id(named, record.line), _usable_question(named), record.line, error)


def _usable_id(named: Named, line: int) -> str:
    value = named.place("id").value
    usable = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    return str(value) if usable else str(line)


def _usable_question(named: Named) -> str | None:
    question = named.place("question").value
    return question if isinstance(question, str) else None
