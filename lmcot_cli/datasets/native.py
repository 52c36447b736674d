"""lmcot's own layout: `id`, `question`, `context`, and optionally more.

The optional parts are `answer`, `type`, `rationale`, `supporting` and `supporting_sentences`. Files from elsewhere are
read in this layout, too; `names` lists the names that their columns may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lmcot_cli.datasets import contexts, fields
from lmcot_cli.datasets.choices import spelt_out
from lmcot_cli.datasets.names import NAMES, USUAL, Named, Paths, Place, holds, part_of, understand
from lmcot_cli.datasets.row import Columns, Row
from lmcot_cli.errors import RowError

_READ_HERE = frozenset({"supporting", "supporting_sentences", "supporting_facts", "answer_aliases"})
_OUTPUT_KEYS = frozenset({"samples", "votes", "agreement"})


def to_row(
    record: Mapping[str, Any], line: int, paths: Paths = USUAL, *, aliases: tuple[str, ...] = ()
) -> Row:
    """Return a record as a row.

    Args:
        record: The record.
        line: Its place in the file.
        paths: The places that the user named.
        aliases: Columns with further accepted answers.

    Raises:
        RowError: A part is missing or has the wrong type.
    """
    if _is_output(record):
        raise RowError("this is an answer that lmcot wrote, not a question: give the file of questions")
    named, aliases = understand(record, paths), ("answer_aliases", *aliases)
    answers = fields.answers(named.place("answer"), *(Place(key, record.get(key)) for key in aliases))
    row = Row(
        id=fields.identifier(named.place("id"), line),
        question=fields.question(named),
        context=contexts.paragraphs(named.place("context")),
        answers=spelt_out(answers, named.place("answer").value, named.place("choices").value),
        type=fields.text_or_none(named.place("type").value),
        rationale=fields.text_or_none(named.place("rationale").value),
        line=line,
        extra=_others(named, _READ_HERE.union(aliases)),
    )
    return replace(
        row,
        supporting=fields.supporting(record, row.context),
        supporting_sentences=fields.supporting_sentences(record, row.context),
    )


def _is_output(record: Mapping[str, Any]) -> bool:
    """Return whether `lmcot answer` wrote a record: its answer must not be taken for gold."""
    samples = record.get("samples")
    drawn = isinstance(samples, list) and all(isinstance(one, dict) and "rationale" in one for one in samples)
    return drawn and (bool(samples) or record.keys() >= _OUTPUT_KEYS)


def _others(named: Named, read: frozenset[str]) -> Columns:
    """Return the columns that are not parts of the row, and `choices` under that name."""
    others = Columns({key: named.record[key] for key in named.left if key not in read})
    if "choices" in named.places:
        others["choices"] = named.places["choices"].value
    return others


def to_record(row: Row) -> dict[str, Any]:
    """Return the record that reads back as `row`; keys without a value are left out.

    A column that would be taken for a part of the row, for which the user named another place, gets a `_`.
    """
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
    record |= {key: value for key, value in optional.items() if value is not None}
    return record | {_column(name, record): value for name, value in row.extra.items()}


def _column(name: str, record: Mapping[str, Any]) -> str:
    """Return a name for another column under which it is not taken for a part of the row."""
    part = part_of(name)
    own = name in record or name in _READ_HERE
    taken_for_it = part is not None and part != "choices" and not holds(record.get(NAMES[part][0]))
    return f"{name}_" if own or taken_for_it else name
