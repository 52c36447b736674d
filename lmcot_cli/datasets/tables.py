"""Records from CSV and TSV: the first line names the columns, and every other line is a record of strings."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lmcot_cli.datasets.names import NAMES, Paths, listed, part_of
from lmcot_cli.datasets.record import NO_UTF8, BadRow, Record, bad_record
from lmcot_cli.errors import InputError

_DELIMITERS = ",;\t|"
_ENDINGS = {".csv": None, ".tsv": "\t", ".tab": "\t"}
_PACKED = {".gz", ".zst"}
_EXCEL_HINT = re.compile(r"sep=(.)\r?\n?")
_ESCAPED_BYTE = re.compile(r"[\udc80-\udcff]")


def delimiter_of(path: Path, head: bytes) -> str | None:
    """Return the delimiter of a file, None if it is not a table.

    JSON begins with a bracket. A table is recognised by the ending of its name, or by a first line that names a
    question and another column.
    """
    text = head.decode("utf-8-sig", "replace").lstrip()
    if not text or text[0] in "{[":
        return None
    line = text.splitlines()[0]
    if hint := _EXCEL_HINT.fullmatch(line):
        return hint[1]
    ending = next((one.lower() for one in reversed(path.suffixes) if one.lower() not in _PACKED), "")
    cells = {delimiter: _cells(line, delimiter) for delimiter in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda delimiter: len(cells[delimiter]))
    if ending in _ENDINGS:
        return _ENDINGS[ending] or best
    names_a_question = any(part_of(cell) == "question" for cell in cells[best])
    return best if names_a_question and len(cells[best]) > 1 else None


def read_table(
    stream: BinaryIO, delimiter: str, name: str, paths: Paths, max_bytes: int
) -> Iterator[Record | BadRow]:
    """Yield records; an empty cell is null. Their place is the number of the row, without the line of names.

    Raises:
        InputError: The first line does not name the columns, or two columns have the same name.
    """
    csv.field_size_limit(max(max_bytes, 1))
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        reader = csv.reader(_lines(text, max_bytes), delimiter=delimiter, strict=True)
        header = _header(reader, name, paths)
        for number, cells in enumerate(_rows(reader), 1):
            if isinstance(cells, csv.Error):
                yield bad_record(number, f"not valid CSV: {cells}")
            elif any(cells):
                yield _record(header, cells, number)
    finally:
        text.detach()  # the caller closes the stream


def _rows(reader: Iterator[list[str]]) -> Iterator[list[str] | csv.Error]:
    """Yield the cells of each row that is not empty, or what is wrong with it."""
    while True:
        try:
            if cells := next(reader):
                yield cells
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _lines(text: io.TextIOWrapper, longest: int) -> Iterator[str]:
    """Yield lines; one that is too long comes in pieces, which form no record and do not fill the memory."""
    while line := text.readline(longest + 1):
        yield line


def _header(reader: Iterator[list[str]], name: str, paths: Paths) -> list[str]:
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if (len(header) == 1 and _EXCEL_HINT.fullmatch(header[0])) or header[:1] == ["sep="]:
            header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{name}: the line of column names is not valid CSV: {error}") from error
    for cell in header:
        if cell and header.count(cell) > 1:
            raise InputError(f"{name}: has two columns {cell!r}: rename one")
    if _ESCAPED_BYTE.search("".join(header)):
        raise InputError(f"{name}: the line of column names {NO_UTF8}")
    if header and not paths and not any(map(part_of, header)):
        raise InputError(
            f"{name}: no column has a usual name, such as {NAMES['question'][0]}, context or answer; the first line has"
            f" {listed(header)[:80]}: name the columns (--fields 'question=COLUMN,answer=COLUMN'), or, if that line"
            " is already a row, add a line with names before it"
        )
    return header


def _record(header: list[str], cells: list[str], number: int) -> Record | BadRow:
    if len(cells) != len(header):
        return bad_record(
            number,
            f"has {len(cells)} cells where the first line has {len(header)}: is a quote or separator missing?",
        )
    if escaped := _ESCAPED_BYTE.search("".join(cells)):
        return bad_record(number, f"holds a byte ({ord(escaped[0]) - 0xDC00:#04x}) that {NO_UTF8}")
    named = zip(header, cells, strict=True)
    return Record({column: cell or None for column, cell in named if column}, number)
