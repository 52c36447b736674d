"""Find rows whose id an earlier row has, in memory that does not grow with the number of rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import blake2b

from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import DuplicateIdError, OutputError

_CACHE_KIB = 2048


def mark_duplicates(rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Yield the rows; a row with the id of an earlier one becomes a `BadRow` that names both places.

    A row that is bad already keeps its error and claims no id.

    Raises:
        OutputError: The disk that holds temporary files is full.
    """
    with closing(_SeenIds()) as seen:
        for row in rows:
            first = seen.first_line(row.id, row.line) if isinstance(row, Row) else row.line
            yield row if first == row.line else _duplicate(row, first)


def _duplicate(row: Row | BadRow, first: int) -> BadRow:
    error = DuplicateIdError(f"the id {row.id!r} of line {row.line} is that of line {first}; ids must differ")
    return BadRow(row.id, row.question, row.line, error)


class _SeenIds:
    """Digests of ids in a private temporary database, which SQLite keeps on disk behind a small cache."""

    def __init__(self) -> None:
        # An abandoned generator is closed by whichever thread collects it.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def first_line(self, row_id: str, line: int) -> int:
        """Return the line that had this id first, which is `line` itself for a new id."""
        digest = blake2b(row_id.encode(), digest_size=16).digest()
        try:
            new = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, line)).rowcount
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"no room for the ids seen so far in the folder of temporary files: {error}"
            ) from error
        if new:
            return line
        found: int = self._database.execute("SELECT line FROM seen WHERE digest = ?", (digest,)).fetchone()[0]
        return found

    def close(self) -> None:
        self._database.close()
