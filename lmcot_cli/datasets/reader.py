"""Rows from a file or stream in any known layout, recognised record by record.

    for row in at_least_one(read_rows(path), path):
        if isinstance(row, BadRow): ...

JSONL and one JSON array are both read as a stream: memory does not grow with the number of rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from lmcot_cli.datasets import columnar, squad
from lmcot_cli.datasets.json_lines import MAX_RECORD_BYTES, read_records
from lmcot_cli.datasets.layouts import to_row
from lmcot_cli.datasets.options import DEFAULT, RowOptions
from lmcot_cli.datasets.record import BadRow, Record
from lmcot_cli.datasets.row import Row
from lmcot_cli.datasets.streams import STDIN, head_of, opened, source_name
from lmcot_cli.datasets.tables import delimiter_of, read_table
from lmcot_cli.datasets.wanted import Wanted
from lmcot_cli.errors import InputError

T = TypeVar("T")


def read_rows(
    source: Path | BinaryIO, options: RowOptions = DEFAULT, *, max_row_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Row | BadRow]:
    """Yield rows in order, and a `BadRow` in the place of each record that cannot be a row.

    Args:
        source: A file, a binary stream, or `Path("-")` for standard input.
        options: Where records have the parts of a row.
        max_row_bytes: Longest record; a longer one is a `BadRow`.

    Raises:
        InputError: The source cannot be opened or read. Raised at the first row, as nothing is opened before.
        UsageError: No row has a place or column that the options name. Raised at the first row of a file, or at the end
            of a stream, which can be read only once.
    """
    for record in watched(source, options, max_row_bytes):
        yield record if isinstance(record, BadRow) else to_row(record, options)


def read_source(
    source: Path | BinaryIO, max_bytes: int = MAX_RECORD_BYTES, options: RowOptions = DEFAULT
) -> Iterator[Record | BadRow]:
    """Yield the records of a file, folder, stream or standard input (see `read_rows`), whatever they mean.

    The content decides how a file is read: as JSON or JSON lines, CSV or TSV (by the ending of the name as well), any
    of these compressed by gzip or Zstandard, Parquet, or a folder saved by `datasets`. Standard input and streams are
    JSON.

    Raises:
        InputError: The source cannot be opened or read.
        MissingExtraError: A library that reads it is not installed.
    """
    try:
        yield from squad.rows(_records(source, max_bytes, options))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{source_name(source)}: cannot be read: {reason}") from error


def watched(
    source: Path | BinaryIO, options: RowOptions, max_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Record | BadRow]:
    """Yield records as `read_source` does, and check that the places that the options name exist.

    Raises:
        UsageError: No record has one of them. Raised at the first record of a file, or at the end of a stream.
    """
    wanted = Wanted(options, source_name(source))
    if wanted and isinstance(source, Path) and (source.is_file() or source.is_dir()):
        wanted.find(read_source(source, max_bytes, options))
    yield from wanted.watch(read_source(source, max_bytes, options))


def _records(source: Path | BinaryIO, max_bytes: int, options: RowOptions) -> Iterator[Record | BadRow]:
    if isinstance(source, Path) and source.is_dir():
        return columnar.read_folder(source, max_bytes)
    if isinstance(source, Path) and source.is_file() and _begins_with(source, columnar.MAGIC):
        return columnar.read_parquet(source, max_bytes)
    return _text_records(source, max_bytes, options)


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _text_records(source: Path | BinaryIO, max_bytes: int, options: RowOptions) -> Iterator[Record | BadRow]:
    name = source_name(source)
    with opened(source) as stream:
        head = head_of(stream)
        if head.startswith(columnar.MAGIC):
            raise InputError(
                f"{name}: Parquet is read only from a file that is not compressed, and not from a pipe"
            )
        named = isinstance(source, Path) and source != STDIN
        delimiter = delimiter_of(Path(name), head) if named else None
        if delimiter:
            yield from read_table(stream, delimiter, name, options.paths, max_bytes)
        else:
            yield from read_records(stream, max_bytes)


def at_least_one(rows: Iterator[T], source: Path | BinaryIO) -> Iterator[T]:
    """Yield `rows`, each as soon as it is read.

    Raises:
        InputError: There are none.
    """
    row = None
    for row in rows:
        yield row
    if row is None:
        raise InputError(
            f"{source_name(source)}: is empty: it should hold JSON objects, one per line or in one array"
        )
