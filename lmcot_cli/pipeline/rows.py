"""The input of a run, read so that waiting for a row never delays those in flight."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain, islice
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import BinaryIO, Generic, TypeVar, cast

from lmcot_cli.datasets.gold import name_lost_gold
from lmcot_cli.datasets.options import DEFAULT, RowOptions
from lmcot_cli.datasets.reader import at_least_one, read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.datasets.streams import STDIN, source_name
from lmcot_cli.errors import InputError
from lmcot_cli.pipeline.duplicates import mark_duplicates

T = TypeVar("T")

_ROWS_AHEAD = 64


class Rows(Iterator[Row | BadRow]):
    """The rows of a source, the first of which is read at once. A pipe is read in a thread of its own.

    Args:
        source: A file, a binary stream, or `Path("-")` for standard input.
        limit: The most rows to read; None reads all.
        options: Which column holds what.
        ids: The rows to read, if not all of them.

    Raises:
        InputError: The source cannot be read, or does not have the rows.
    """

    def __init__(
        self,
        source: Path | BinaryIO,
        limit: int | None,
        options: RowOptions = DEFAULT,
        ids: Collection[str] = (),
    ) -> None:
        name = source_name(source)
        rows = mark_duplicates(name_lost_gold(at_least_one(read_rows(source, options), source), name))
        items: Iterator[Row | BadRow] = islice(_with_ids(rows, ids, name) if ids else rows, limit)
        self._ahead = None if _never_waits(source) else ReadAhead(items)
        items = self._ahead or items
        self._items: Iterator[Row | BadRow] = chain([next(items)], items)

    def first(self, count: int) -> list[Row | BadRow]:
        """Return up to `count` of the next rows without consuming them; none of a pipe, where that may take long."""
        if self._ahead is not None:
            return []
        taken = list(islice(self._items, count))
        self._items = chain(taken, self._items)
        return taken

    def would_wait(self) -> bool:
        """Whether the next row is not there yet."""
        return self._ahead is not None and self._ahead.would_wait()

    def __next__(self) -> Row | BadRow:
        return next(self._items)


def _with_ids(rows: Iterator[Row | BadRow], ids: Collection[str], source: str) -> Iterator[Row | BadRow]:
    """Yield the rows with some ids, and read no further than the last of them.

    Raises:
        InputError: There is no row with one of the ids; raised at the end of the rows.
    """
    missing = dict.fromkeys(ids)
    while missing:
        row = next(rows, None)
        if row is None:
            raise InputError(f"{source}: no row has the id {', '.join(map(repr, missing))} of --ids")
        if row.id in missing:
            del missing[row.id]
            yield row


def _never_waits(source: Path | BinaryIO) -> bool:
    """Whether reading never waits for anyone, as it does with a pipe or a terminal."""
    return not isinstance(source, Path) or (source != STDIN and not source.is_fifo())


class ReadAhead(Iterator[T], Generic[T]):
    """Reads items in a thread of its own, a few ahead; errors of reading are raised in their place."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._queue: Queue[tuple[bool, T | BaseException]] = Queue(_ROWS_AHEAD)
        Thread(target=self._read, daemon=True).start()

    def would_wait(self) -> bool:
        """Whether the next item is not there yet."""
        return self._queue.empty()

    def __next__(self) -> T:
        there, item = self._queue.get()
        if there:
            return cast("T", item)
        self._queue.put((there, item))  # whoever asks again is told the same
        raise cast("BaseException", item)

    def _read(self) -> None:
        try:
            for item in self._items:
                self._queue.put((True, item))
        except BaseException as error:
            self._queue.put((False, error))
        else:
            self._queue.put((False, StopIteration()))
