"""Rows that were done when a run stopped, behind one that was not: kept beside the output until it is their turn.

An output is in input order, and every row before its end has its record. So what was finished behind a gap can't be
in it yet. It lies in `.OUT.ahead` until a session that goes on with the output reaches it; it is believed only where it
is of the very run that the output is of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lmcot_cli.datasets.reader import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.files import read_regular, replace_file
from lmcot_cli.pipeline.journal import Recorded
from lmcot_cli.pipeline.result import Result
from lmcot_cli.pipeline.resume import Item, is_result_of
from lmcot_cli.pipeline.run_file import PreviousRun


class Ahead:
    """The file of an output's rows that are ahead of it.

    Args:
        output: The output.
        run: What it is of.

    Attributes:
        rows: What is kept, by the ids of the rows; what is taken into the output is taken out of here.
    """

    def __init__(self, output: Path, run: PreviousRun) -> None:
        file = output.resolve()
        self._path = file.with_name(f".{file.name}.ahead")
        self._run: dict[str, Any] = {"settings": dict(run.settings), "started": run.started}
        self.rows: dict[str, Recorded] = dict(self._read())

    def in_place(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, those that are kept as they are kept."""
        for item in items:
            recorded = self.rows.get(item.id) if isinstance(item, Row | BadRow) else None
            yield (
                recorded
                if recorded and not isinstance(item, Recorded) and is_result_of(recorded, item)
                else item
            )

    def take(self, recorded: Recorded) -> None:
        """Note that a row is in the output now."""
        self.rows.pop(recorded.id, None)

    def keep(self, results: Iterable[Result]) -> None:
        """Keep what is left and these results, for a session to come; leave no file where there are none.

        Raises:
            OutputError: It cannot be written.
        """
        found = {result.id: result.to_line() for result in results if result.error is None}
        self.rows |= {id: Recorded.read(0, line) for id, line in found.items()}
        lines = [recorded.text for recorded in self.rows.values()]
        if not lines:
            return self.remove()
        replace_file(self._path, json.dumps(self._run).encode() + b"\n" + b"".join(lines))

    def remove(self) -> None:
        """Leave no file: the output has it all."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> Iterator[tuple[str, Recorded]]:
        """Read what is there and of this run; what is not, or is damaged, is of no use."""
        try:
            first, *lines = read_regular(self._path).splitlines(keepends=True)
            if json.loads(first) != self._run:
                return
            for number, line in enumerate(lines, 1):
                if line.endswith(b"\n"):
                    recorded = Recorded.read(number, line)
                    yield recorded.id, recorded
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return
