"""Rows of a Python program as a stream of JSON lines, which a run reads."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class RowStream(io.RawIOBase):
    """A stream of rows (dicts in any layout, or `Row`), each a line of JSON, read as they are needed."""

    name = "rows"

    def __init__(self, rows: Iterable[Mapping[str, Any] | Row]) -> None:
        self._rows = enumerate(rows, start=1)
        self._left = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer with the rest of a row, or with the next one.

        Raises:
            InputError: A row cannot be written as JSON.
        """
        if not self._left:
            self._left = next((_line(place, row) for place, row in self._rows), b"")
        room = memoryview(buffer).cast("B")
        taken, self._left = self._left[: len(room)], self._left[len(room) :]
        room[: len(taken)] = taken
        return len(taken)

    def buffered(self) -> io.BufferedReader:
        """Return the stream as a file that is open for reading; its buffer holds one row at a time."""
        return io.BufferedReader(self)


def _line(place: int, row: Mapping[str, Any] | Row) -> bytes:
    record = to_record(row) if isinstance(row, Row) else row
    try:
        return json.dumps(record).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"row {place}: is not a JSON object: {error}") from error
