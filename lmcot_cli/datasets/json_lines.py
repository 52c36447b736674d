"""JSON objects from a byte stream: one a line, or the elements of one array, in bounded memory.

This module knows nothing of questions; `reader.py` makes rows of its records, `scoring/answers.py` makes
answers of them. Whatever cannot be read comes out in its place as a `BadRow`, and the rows around it go on.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO

from lmcot_cli.datasets.json_window import CHUNK_BYTES, ArrayReader, DocumentReader, begins_documents
from lmcot_cli.datasets.record import (
    JSON,
    NO_UTF8,
    BadRow,
    Record,
    bad_record,
    checked,
    json_reason,
)

MAX_RECORD_BYTES = 16 * 2**20
"""Longest record that is read (bytes of a line, characters of an array element); longer is a `BadRow`."""


def read_records(stream: BinaryIO, max_bytes: int = MAX_RECORD_BYTES) -> Iterator[Record | BadRow]:
    """Read JSON objects; blank lines are skipped, a byte order mark too.

    An input whose first character is `[` is one JSON array. One that begins as an object with a list under `data`,
    `rows` or `examples` is that list, and objects of several lines each may follow each other. Anything else is
    JSONL. Where an array or object breaks off or stops being JSON, one `BadRow` says so and nothing after it is read.
    """
    blank_lines, first = _skip_blank(stream)
    if first == b"[":
        yield from ArrayReader(stream, max_bytes).records()
    else:
        yield from _read_lines(stream, first, blank_lines, max_bytes)


def _skip_blank(stream: BinaryIO) -> tuple[int, bytes]:
    """Read up to the first byte that matters; return the line ends before it, and it (empty at the end)."""
    first = stream.read(1)
    if first == codecs.BOM_UTF8[:1]:
        first += stream.read(1) + stream.read(1)
        if first == codecs.BOM_UTF8:
            first = stream.read(1)
    line_ends = 0
    while first.isspace():
        line_ends += first == b"\n"
        first = stream.read(1)
    return line_ends, first


def _read_lines(stream: BinaryIO, first: bytes, line: int, max_bytes: int) -> Iterator[Record | BadRow]:
    """Read JSONL of which `first` has been read, after `line` blank lines."""
    while data := first + stream.readline(max_bytes + 1 - len(first)):
        if first and begins_documents(data):
            yield from DocumentReader(stream, max_bytes, data).records()
            return
        first = b""
        line += 1
        if len(data) > max_bytes and not data.endswith(b"\n"):
            _skip_line(stream)
            yield bad_record(line, f"the line is longer than {max_bytes:,} bytes")
        elif data.strip():
            yield _parse_line(data, line)


def _skip_line(stream: BinaryIO) -> None:
    while (piece := stream.readline(CHUNK_BYTES)) and not piece.endswith(b"\n"):
        pass


def _parse_line(data: bytes, line: int) -> Record | BadRow:
    try:
        text = data.decode("utf-8")
        return checked(JSON.decode(text), text, line)
    except UnicodeDecodeError as error:
        return bad_record(line, f"byte {error.start + 1} of the line ({data[error.start]:#04x}) {NO_UTF8}")
    except json.JSONDecodeError as error:
        return bad_record(
            line, f"not valid JSON: {json_reason(error)} (column {error.colno}); write one object a line"
        )
    except RecursionError:
        return bad_record(line, "the JSON is nested too deeply")
    except ValueError:  # json's own error is caught above: what is left is Python's limit on digits
        return bad_record(line, "holds a number with too many digits")
