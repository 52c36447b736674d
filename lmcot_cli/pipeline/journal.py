"""The output file as a journal: each finished row is one line, so a run may end at any moment and be continued.

Results are in input order and every row has exactly one, so a resume walks the records and the input side by
side; it remembers no ids and needs no more memory for a million rows than for one.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NamedTuple, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import OutputError
from lmcot_cli.files import cannot_write, lock
from lmcot_cli.interrupts import held
from lmcot_cli.pipeline.result import Result, to_line
from lmcot_cli.pipeline.run_file import PreviousRun, RunFile, Settings, Totals, differing, now, read_run_file

_MEND = "mend that and run the same command again, or choose another -o"
INSTEAD = "choose another -o, or start it anew with --overwrite"
NO_RECORD = (ValueError, KeyError, TypeError, RecursionError)
"""What `Recorded.read` raises where a line is no record."""

_CHUNK_BYTES = 2**16
_RECORD_START = b'{"id"'


class _Written(BaseModel):
    """What a record must hold to be counted and compared; somebody else may have written it."""

    model_config = ConfigDict(strict=True, frozen=True)

    id: str
    question: str | None
    row_digest: str | None
    error: dict[str, Any] | None
    samples: list[dict[str, Any]]
    samples_saved: Annotated[int, Field(ge=0)] | None
    usage: dict[str, dict[str, Annotated[int, Field(ge=0)]]]


class Recorded(NamedTuple):
    """One record of an output.

    Attributes:
        text: The line as it is in the file, with its newline.
        id: The row's id.
        question: The row's question; None where the row could not be read that far.
        row_digest: See `Row.digest`; None where the row could not be read.
        failed: Whether it holds an error instead of an answer.
        totals: What it adds to the totals.
    """

    text: bytes
    id: str
    question: str | None
    row_digest: str | None
    failed: bool
    totals: Totals

    @classmethod
    def of(cls, result: Result) -> Self:
        """Make the record of a result."""
        record = result.to_record()
        failed = result.error is not None
        return cls(to_line(record), result.id, result.question, result.row_digest, failed, Totals.of(record))

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Read a line of an output; raise one of `NO_RECORD` where it is no record."""
        record = json.loads(line)
        known = _Written.model_validate(record)
        failed = known.error is not None
        return cls(line, known.id, known.question, known.row_digest, failed, Totals.of(record))

    def difference(self, item: Item) -> str | None:
        """Say how a row of the input differs from the one that this is the record of; None if it does not."""
        if item.id != self.id:
            return f"but the input has row {item.id!r} there"
        if item.question != self.question:
            return "whose question differs in the input"
        digest = item.digest if isinstance(item, Row) else None
        if None not in (digest, self.row_digest) and digest != self.row_digest:
            return "whose context, rationale or another column differs in the input"
        return None


Item: TypeAlias = Row | BadRow | Recorded
"""What a run does next: a row to answer, one that could not be read, or the record of one that is done."""


class Journal:
    """An output file that is locked, appended to record by record, and described by its run file.

    Opening it finds out whether it can be written and resumed; nothing is changed before `begin`.

    Args:
        path: The file.
        overwrite: Whether to discard what it holds.
        follow: Whether to follow a link.

    Attributes:
        previous: The run of an earlier session; None where there are no results of one.
        totals: The sums over all records, those of earlier sessions included once they were read.
        calls: The calls of this session to endpoints, for the run file; None where no model is behind one.

    Raises:
        OutputError: The file cannot be written, is being written by another process, or is no output of ours.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, follow: bool = True) -> None:
        self.path = path
        self.totals = Totals()
        self.calls: Mapping[str, int] | None = None
        self._run: RunFile | None = None
        self._finished = False
        self._created = not path.exists()
        self._descriptor = _open_locked(path, follow=follow)
        self._run_path = run_file_of(path)
        try:
            self.previous = None if overwrite else self._find_previous()
        except OutputError:
            os.close(self._descriptor)
            raise

    @property
    def run(self) -> PreviousRun:
        """The run that its records belong to, once it has begun."""
        assert self._run is not None
        return PreviousRun(dict(self._run.settings), self._run.started)

    def check(self, settings: Settings) -> None:
        """Refuse to mix results of these settings with those that are there.

        Raises:
            OutputError: Names each differing setting.
        """
        if self.previous and (differences := differing(self.previous.settings, settings)):
            raise OutputError(
                f"{self.path}: was begun with other settings ({'; '.join(differences)}): {INSTEAD}"
            )

    def begin(self, run: RunFile, since: PreviousRun | None = None) -> None:
        """Start the output, or prepare it for more results of `run`.

        Args:
            run: The run.
            since: The run that it continues, if that is not the one of the results that are there.

        Raises:
            OutputError: The settings differ from those of the results that are there, or the disk refuses.
        """
        self.check(run.settings)
        if self.previous and not self._begins_as_ours():  # another file must not lose its last line as torn
            raise OutputError(f"{self.path}:1: is not a result record of lmcot: {INSTEAD}")
        since = since or self.previous
        started, calls = (since.started, since.calls) if since else (now(), None)
        self._run = replace(run, started=started, calls=calls)
        try:
            os.ftruncate(self._descriptor, self._end_of_records() if self.previous else 0)
        except OSError as error:
            raise cannot_write(self.path, error, _MEND) from error
        self._run.write(self._run_path, _MEND)

    def records(self) -> Iterator[Recorded]:
        """Read the records of earlier sessions and add them to the totals.

        Raises:
            OutputError: A line is not a result record.
        """
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):  # torn when a session was killed; `begin` cuts it off
                    return
                try:
                    recorded = Recorded.read(line)
                except NO_RECORD as error:
                    raise OutputError(
                        f"{self.path}:{number}: is not a result record of lmcot: {INSTEAD}"
                    ) from error
                self.totals += recorded.totals
                yield recorded

    def matched(self, items: Iterator[Item], *, redone: bool = False) -> Iterator[tuple[Recorded, Item]]:
        """Yield every record with the item of the input that it is the result of.

        Args:
            items: The input.
            redone: Whether failed rows are answered again, so that they may differ in the input by now.

        Raises:
            OutputError: They do not belong together; names the line and what differs.
        """
        for number, recorded in enumerate(self.records(), 1):
            item = next(items, None)
            place = f"{self.path}:{number}: holds the result of row {recorded.id!r}"
            if item is None:
                raise OutputError(
                    f"{place}, but the input, or its --limit, ends with row {number - 1}:"
                    f" give the same input, or {INSTEAD}"
                )
            if not (redone and recorded.failed) and (difference := recorded.difference(item)):
                raise OutputError(f"{place}, {difference}: {INSTEAD}")
            yield recorded, item

    def write(self, recorded: Recorded) -> None:
        """Append one record; once this returns, it outlives the process.

        Raises:
            OutputError: The disk is full, or the file cannot be written or is not there any more.
        """
        self._check_in_place()
        left = recorded.text
        try:
            with held():
                while left:
                    left = left[os.write(self._descriptor, left) :]
                self.totals += recorded.totals
        except OSError as error:
            kept = f"{self.totals.rows} rows are kept: mend that and run the same command again to continue"
            raise cannot_write(self.path, error, kept) from error

    def _check_in_place(self) -> None:
        """Refuse to write to a file that was deleted, moved or replaced: its results would be lost."""
        try:
            there = os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            there = False
        if not there:
            raise OutputError(
                f"{self.path}: was removed, moved or replaced while lmcot wrote to it;"
                " run the same command again to answer what is missing"
            )

    def finish(self) -> None:
        """Note that every row of the input has its record."""
        self._finished = True

    def close(self) -> None:
        """Write the end of the session into the run file and release the output.

        Raises:
            OutputError: The run file cannot be written.
        """
        try:
            if self._run:
                os.fsync(self._descriptor)
                self._run.ending(self.totals, self.calls, finished=self._finished).write(self._run_path)
            elif self._created:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        finally:
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Only the error that ended the session is reported, not a run file that the same full disk spoils.
        with suppress(OutputError) if error else nullcontext():
            self.close()

    def _find_previous(self) -> PreviousRun | None:
        """Return the run that an output with something in it belongs to; an empty one belongs to none."""
        if os.fstat(self._descriptor).st_size == 0:
            return None
        if previous := read_run_file(self._run_path):
            return previous
        raise OutputError(
            f"{self.path}: exists, but not {self._run_path.name}, which would say how it was made: {INSTEAD}"
        )

    def _begins_as_ours(self) -> bool:
        """Whether it begins as a record does, or was torn even before that."""
        return _RECORD_START.startswith(os.pread(self._descriptor, len(_RECORD_START), 0))

    def _end_of_records(self) -> int:
        """Return where the last whole line ends, in bytes; a killed session tears what follows."""
        end = os.fstat(self._descriptor).st_size
        while end > 0:
            start = max(0, end - _CHUNK_BYTES)
            newline = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0


def run_file_of(output: Path) -> Path:
    """Return the path of the run file beside an output."""
    return output.with_name(f"{output.name}.run.json")


def _open_locked(path: Path, *, follow: bool) -> int:
    """Open a regular file for appending, created where it does not exist, and lock it until it is closed.

    Args:
        path: The file.
        follow: Whether to follow a link, as only the path that the user gave may be one.

    Raises:
        OutputError: It cannot be written or locked, or is no regular file.
    """
    how = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, how, 0o666)
    except FileNotFoundError as error:
        raise OutputError(f"{path}: there is no such folder: mkdir -p {path.parent}") from error
    except OSError as error:
        raise cannot_write(path, error, "choose another -o") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OutputError(f"{path}: is not a regular file; leave out -o to write to standard output")
        lock(descriptor, path)
    except OutputError:
        os.close(descriptor)
        raise
    return descriptor
