"""Rows from a file or stream in any known layout, recognised record by record.

    for row in at_least_one(read_rows(path), path):
        if isinstance(row, BadRow): ...

JSONL and one JSON array are both read as a stream: memory does not grow with the number of rows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from lmcot_cli.datasets import hotpotqa, ircot, musique, native, twowiki
from lmcot_cli.datasets.records import MAX_RECORD_BYTES, BadRow, Record, read_records
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, RowError

__all__ = [
    "BadRow",
    "Layout",
    "at_least_one",
    "layout_of",
    "read_rows",
    "read_source",
    "source_name",
    "to_row",
]

T = TypeVar("T")

STDIN = Path("-")


class Layout(NamedTuple):
    """How one kind of record is recognised and made a row of."""

    name: str
    matches: Callable[[Mapping[str, Any]], bool]
    to_row: Callable[[Mapping[str, Any], int], Row]


LAYOUTS = (
    Layout("musique", musique.matches, musique.to_row),
    Layout("ircot", ircot.matches, ircot.to_row),
    Layout("2wikimultihopqa", twowiki.matches, twowiki.to_row),
    Layout("hotpotqa", hotpotqa.matches, hotpotqa.to_row),
    Layout("native", native.matches, native.to_row),
)
"""Every layout, the more particular before the more general; the first that matches is taken."""


def read_rows(source: Path | BinaryIO, max_row_bytes: int = MAX_RECORD_BYTES) -> Iterator[Row | BadRow]:
    """Read rows in order, a `BadRow` in the place of each record that makes none.

    Args:
        source: A file, a binary stream, or `Path("-")` for standard input.
        max_row_bytes: Longest record that is read; a longer one is a `BadRow`.

    Raises:
        InputError: The source cannot be opened or read; at the first row, for nothing is opened before.
    """
    for record in read_source(source, max_row_bytes):
        yield record if isinstance(record, BadRow) else to_row(record)


def read_source(source: Path | BinaryIO, max_bytes: int = MAX_RECORD_BYTES) -> Iterator[Record | BadRow]:
    """Read the JSON objects of a file, stream or standard input (see `read_rows`), whatever they stand for.

    Raises:
        InputError: The source cannot be opened or read.
    """
    try:
        with _opened(source) as stream:
            yield from read_records(stream, max_bytes)
    except OSError as error:
        raise InputError(f"{source_name(source)}: cannot be read: {error.strerror or error}") from error


def _opened(source: Path | BinaryIO) -> nullcontext[BinaryIO] | BinaryIO:
    if not isinstance(source, Path):
        return nullcontext(source)
    return _standard_input() if source == STDIN else source.open("rb")


def _standard_input() -> nullcontext[BinaryIO] | BinaryIO:
    """Open standard input anew: a thread that waits in Python's own stream would abort the process as it ends."""
    try:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except (OSError, ValueError):  # a stand-in without a file behind it
        return nullcontext(sys.stdin.buffer)


def source_name(source: Path | BinaryIO) -> str:
    """Name a source in messages, as `FILE` of `FILE:LINE:`."""
    if isinstance(source, Path):
        return "standard input" if source == STDIN else str(source)
    return str(getattr(source, "name", "standard input"))


def at_least_one(rows: Iterator[T], source: Path | BinaryIO) -> Iterator[T]:
    """Pass `rows` on, each as soon as it is there.

    Raises:
        InputError: There are none.
    """
    row = None
    for row in rows:
        yield row
    if row is None:
        raise InputError(
            f"{source_name(source)}: is empty: it should hold JSON objects, one a line or in one array"
        )


def layout_of(record: Mapping[str, Any]) -> Layout:
    """Recognise the layout of a record."""
    return next(layout for layout in LAYOUTS if layout.matches(record))


def to_row(record: Record) -> Row | BadRow:
    """Make a row of a record, whatever its layout."""
    try:
        return layout_of(record.value).to_row(record.value, record.line)
    except RowError as error:
        return BadRow(_usable_id(record), _usable_question(record.value), record.line, error)


def _usable_id(record: Record) -> str:
    value = record.value.get("id", record.value.get("_id"))
    usable = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    return str(value) if usable else str(record.line)


def _usable_question(record: Mapping[str, Any]) -> str | None:
    question = record.get("question")
    return question if isinstance(question, str) else None
