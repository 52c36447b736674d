"""Check that the columns that the user names exist, before any model is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lmcot_cli.datasets.names import Named, Part, has, listed, understand
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.record import BadRow, Record
from lmcot_cli.errors import UsageError


class Wanted:
    """The places of `--fields` and `--keep-columns` that no record has had so far.

    Args:
        options: Options that name the places.
        source: Name of the file, for messages.
    """

    def __init__(self, options: RowOptions, source: str) -> None:
        self._paths, self._source = options.paths, source
        self._places: dict[Part, str] = dict(options.paths)
        self._columns = {name for name in options.keep_columns if name != "*"}
        self._first: Named | None = None

    def __bool__(self) -> bool:
        return bool(self._places or self._columns)

    def watch(self, records: Iterable[Record | BadRow]) -> Iterator[Record | BadRow]:
        """Yield records and look for the places in each.

        Raises:
            UsageError: All records have been read, and none had one of the places.
        """
        for record in records:
            if self and isinstance(record, Record):
                self._look(record.value)
            yield record
        self._check()

    def find(self, records: Iterable[Record | BadRow]) -> None:
        """Read records until all places have been found.

        Raises:
            UsageError: No record has one of them.
        """
        for _ in self.watch(records):
            if not self:
                return

    def _look(self, record: dict[str, Any]) -> None:
        self._places = {part: path for part, path in self._places.items() if not has(record, path)}
        named = understand(record, self._paths)
        self._first = self._first or named
        self._columns -= {*named.left, *(["choices"] if "choices" in named.places else [])}

    def _check(self) -> None:
        if not self or self._first is None:
            return
        for part, path in self._places.items():
            there = listed(self._first.record)
            raise UsageError(
                f"--fields {part}={path}: no row of {self._source} has {path!r}; the first has {there}"
            )
        others = listed(self._first.left)
        raise UsageError(
            f"--keep-columns {','.join(sorted(self._columns))}: no row of {self._source} has such a column besides"
            f" question, context, answer and the like; the first has {others}"
        )
