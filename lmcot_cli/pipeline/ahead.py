"""Rows that were finished behind one that was not when a run stopped: kept beside the output until their turn.

An output is in input order, and every row before its end has its record, so what was finished behind a gap cannot be
in it yet. It is kept in `.OUT.ahead` until a later session reaches it, and used only if that belongs to the same run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lmcot_cli.files import read_regular, replace_file
from lmcot_cli.pipeline.journal import NO_RECORD, Item, Recorded
from lmcot_cli.pipeline.result import Result
from lmcot_cli.pipeline.run_file import PreviousRun


class Ahead:
    """The file of an output's rows that are ahead of it.

    Args:
        output: The output.
        run: The run that it belongs to.

    Attributes:
        rows: The records by the ids of their rows; one that enters the output is removed here.
    """

    def __init__(self, output: Path, run: PreviousRun) -> None:
        file = output.resolve()
        self._path = file.with_name(f".{file.name}.ahead")
        self._run: dict[str, Any] = {"settings": dict(run.settings), "started": run.started}
        self.rows: dict[str, Recorded] = dict(self._read())

    def in_place(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, each that is kept here as its record."""
        for item in items:
            kept = None if isinstance(item, Recorded) else self.rows.get(item.id)
            yield item if kept is None or kept.difference(item) else kept

    def take(self, recorded: Recorded) -> None:
        """Note that a row is in the output now."""
        self.rows.pop(recorded.id, None)

    def keep(self, results: Iterable[Result]) -> None:
        """Write what is left and these results for a later session; leave no file where there are none.

        Raises:
            OutputError: The file cannot be written.
        """
        self.rows |= {result.id: Recorded.of(result) for result in results if result.error is None}
        if not self.rows:
            return self.remove()
        records = b"".join(recorded.text for recorded in self.rows.values())
        replace_file(self._path, json.dumps(self._run).encode() + b"\n" + records)

    def remove(self) -> None:
        """Remove the file: the output has it all."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> Iterator[tuple[str, Recorded]]:
        """Read the records of this run; a damaged file, or that of another run, yields none."""
        try:
            first, *lines = read_regular(self._path).splitlines(keepends=True)
            if json.loads(first) != self._run:
                return
            for line in lines:
                if line.endswith(b"\n"):
                    recorded = Recorded.read(line)
                    yield recorded.id, recorded
        except (OSError, *NO_RECORD):
            return
