"""A session of a run: what the output holds already, what is still to do, and the one way of a row into it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.datasets.streams import STDIN
from lmcot_cli.errors import UsageError
from lmcot_cli.interrupts import held
from lmcot_cli.pipeline.ahead import Ahead
from lmcot_cli.pipeline.journal import Item, Journal, Recorded
from lmcot_cli.pipeline.result import Result
from lmcot_cli.pipeline.retry import Retry, finish_retry
from lmcot_cli.pipeline.run_file import RunFile, Settings, Totals
from lmcot_cli.prompts.system import names_file


class Session:
    """One session of a run, with or without an output file.

    Args:
        output: The output; None where results are only passed on.
        overwrite: Whether to start it anew.
        retry_errors: Whether to answer again the rows that have an error in it.

    Attributes:
        kept: The sums over the rows that earlier sessions finished; they count towards a budget.
        resumed: How many of these rows are in the output by now.
        answered_now: The sums over the rows of this session.
        kept_ahead: Rows that are finished and kept beside the output, because one before them is not.
    """

    def __init__(
        self, output: Path | None = None, *, overwrite: bool = False, retry_errors: bool = False
    ) -> None:
        self.output, self._overwrite, self._retry_errors = output, overwrite, retry_errors
        self.kept = self.answered_now = Totals()
        self.resumed = self.kept_ahead = 0
        self._journal: Journal | None = None
        self._ahead: Ahead | None = None
        self._files = ExitStack()

    @property
    def totals(self) -> Totals:
        """The sums over all records of the output, those of earlier sessions included."""
        return self._journal.totals if self._journal else self.answered_now

    @property
    def is_new(self) -> bool:
        """Whether no earlier session left any results."""
        return self._journal is None or self._journal.previous is None

    def check(self, source: Path | BinaryIO, files_read: Mapping[str, Path]) -> None:
        """Refuse an output that cannot be meant.

        Args:
            source: The input.
            files_read: Other files that are read, by their option.

        Raises:
            UsageError: Options that exclude each other, or an output that is one of the files that are read.
        """
        output = self.output
        for option, given in {"overwrite": self._overwrite, "retry-errors": self._retry_errors}.items():
            if given and output is None:
                raise UsageError(f"--{option} needs -o OUT")
        if self._overwrite and self._retry_errors:
            raise UsageError(
                "--overwrite starts the output anew, --retry-errors keeps most of it: choose one"
            )
        if output is None:
            return
        if self._retry_errors and not output.exists():
            raise UsageError(f"--retry-errors: {output} does not exist; leave the option out to begin it")
        for option, file in files_read.items():
            if names_file(file) and _same_file(file, output):
                raise UsageError(f"-o {output}: is the file of {option}; choose another -o")
        if _same_file(source, output):
            raise UsageError(f"-o {output}: is the input itself; choose another -o")

    @contextmanager
    def opened(self, settings: Settings) -> Iterator[None]:
        """Lock the output while the session lasts; nothing in it changes before `todo`.

        Args:
            settings: The settings that change answers, as far as they are known before a model is loaded.

        Raises:
            OutputError: The output cannot be written, or holds results of other settings.
        """
        with self._files:
            if self.output:
                if not self._overwrite:
                    finish_retry(self.output)
                self._journal = self._files.enter_context(Journal(self.output, overwrite=self._overwrite))
                self._journal.check(settings)
            yield

    def todo(self, rows: Iterator[Row | BadRow], run: RunFile) -> Iterator[Item]:
        """Begin the output or find the place where an earlier session ended; yield what is to be written from there.

        Rows that an earlier session finished come as their records, in their places.

        Raises:
            OutputError: The output holds results of another input or other settings, or cannot be written.
        """
        if self._journal is None:
            return rows
        items: Iterator[Item] = rows
        if self._retry_errors:
            items = self._retry(rows, self._journal, run)
        else:
            self._journal.begin(run)
            for _ in self._journal.matched(rows):
                pass
            self.kept = self._journal.totals
            self.resumed = self.kept.rows
        self._ahead = Ahead(self._journal.path, self._journal.run)
        self.kept = sum((one.totals for one in self._ahead.rows.values()), self.kept)
        return self._ahead.in_place(items)

    def _retry(self, rows: Iterator[Row | BadRow], old: Journal, run: RunFile) -> Iterator[Item]:
        """Begin the journal that will take the place of `old`."""
        old.check(run.settings)
        kept = sum((one.totals for one in old.records() if not one.failed), Totals())
        self.kept = replace(kept, usage=old.totals.usage)  # failed rows used tokens as well
        self._journal = self._files.enter_context(Retry(old))
        self._journal.begin(run)
        return _failed_again(rows, old)

    def write(self, row: Result | Recorded) -> None:
        """Put a row into the output and count it: a new result, or the record of an earlier session.

        Raises:
            OutputError: The output cannot be written.
        """
        if self._journal is None:
            assert isinstance(row, Result)
            self.answered_now += Totals.of(row.to_record())
            return
        recorded = row if isinstance(row, Recorded) else Recorded.of(row)
        self._journal.write(recorded)
        if recorded is not row:
            self.answered_now += recorded.totals
            return
        self.resumed += 1
        if self._ahead:
            self._ahead.take(recorded)

    def keep_ahead(self, results: Iterable[Result]) -> None:
        """Keep results that have to wait for their turn in the output; the next session takes them from there.

        Raises:
            OutputError: They cannot be written.
        """
        if self._ahead:
            self._ahead.keep(results)
            self.kept_ahead = len(self._ahead.rows)

    def finish(self) -> None:
        """Note that every row of the input is in the output."""
        if self._journal and self._ahead:
            self._journal.finish()
            self._ahead.remove()

    def end(self, calls: Mapping[str, int] | None) -> None:
        """Leave the output whole, whatever ended the session.

        Args:
            calls: The calls of this session to endpoints; None where no model is behind one.

        Raises:
            OutputError: The output cannot be written.
        """
        if self._journal:
            with held():
                self._journal.calls = calls
                if isinstance(self._journal, Retry):
                    self._journal.take_place()


def _failed_again(rows: Iterator[Row | BadRow], old: Journal) -> Iterator[Item]:
    """Yield the records that worked, the rows of those that did not in their places, and then the rows that follow."""
    for recorded, row in old.matched(rows, redone=True):
        yield row if recorded.failed else recorded
    yield from rows


def _same_file(source: Path | BinaryIO, output: Path) -> bool:
    """Whether a regular file is both, be it by another name or as standard input (`< FILE`)."""
    if not isinstance(source, Path) or not output.is_file():
        return False
    try:
        found = os.fstat(sys.stdin.fileno()) if source == STDIN else source.stat()
    except (OSError, ValueError):  # a stream without a file behind it
        return False
    return os.path.samestat(found, output.stat())
