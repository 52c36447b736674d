"""JSON objects from a byte stream: one per line, or the elements of one array, in bounded memory.

This module knows nothing about questions: `reader.py` turns its records into rows, `scoring/answers.py` into answers.
A record that cannot be read becomes a `BadRow` in its place, and reading continues after it.
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
"""Longest record (bytes of a line, characters of an array element); a longer one is a `BadRow`."""


def read_records(stream: BinaryIO, max_bytes: int = MAX_RECORD_BYTES) -> Iterator[Record | BadRow]:
    """Yield JSON objects; blank lines and a byte order mark are skipped.

    An input that begins with `[` is one JSON array. One that begins with an object that has a list under `data`, `rows`
    or `examples` is that list. Objects may also span several lines each; anything else is JSONL. If an array or object
    breaks off or stops being JSON, one `BadRow` says so and nothing after it is read.
    """
    blank_lines, first = _skip_blank(stream)
    if first == b"[":
        yield from ArrayReader(stream, max_bytes).records()
    else:
        yield from _read_lines(stream, first, blank_lines, max_bytes)


def _skip_blank(stream: BinaryIO) -> tuple[int, bytes]:
    """Skip blanks; return the number of line ends skipped and the first byte after them (empty at the end)."""
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
    except ValueError:  # Python's limit on digits; errors of json are caught above
        return bad_record(line, "holds a number with too many digits")
