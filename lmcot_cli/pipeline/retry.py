"""Failed rows answered again: their results are gathered beside the output and then take its place in one step."""

from __future__ import annotations

import os
import stat
from itertools import islice
from pathlib import Path

from lmcot_cli.errors import OutputError
from lmcot_cli.files import cannot_write
from lmcot_cli.pipeline.journal import Journal
from lmcot_cli.pipeline.run_file import PreviousRun, RunFile, read_run_file


class Retry(Journal):
    """A journal whose records will replace those of an output.

    Args:
        old: The output's journal.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(self, old: Journal) -> None:
        super().__init__(_path_of(old.path), overwrite=True, follow=False)
        self._old = old

    def begin(self, run: RunFile, since: PreviousRun | None = None) -> None:
        """Begin as the run of the output, in a file with the same permissions; see `Journal.begin`."""
        try:
            os.fchmod(self._descriptor, stat.S_IMODE(self._old.path.stat().st_mode))
        except OSError as error:
            raise cannot_write(self.path, error) from error
        super().begin(run, since or self._old.previous)

    def redoes(self) -> bool:
        """Whether its records, left by a killed session, redo those of the output.

        They do if both are of one run and differ only where the output has an error.
        """
        try:
            if (run := read_run_file(self._run_path)) is None or run != self._old.previous:
                return False
            pairs = zip(self._old.records(), self.records(), strict=False)
            return all(old.failed or old.text == new.text for old, new in pairs)
        except OutputError:
            return False

    def take_place(self) -> None:
        """Replace the output; records that were not reached come along.

        It can be repeated if it is cut short at any point: nothing is lost.

        Raises:
            OutputError: The files cannot be written or moved.
        """
        old = self._old
        try:
            os.ftruncate(self._descriptor, self._end_of_records())  # a full disk tears a line
            with self.path.open("rb") as file:
                reached = sum(1 for _ in file)
            for recorded in islice(old.records(), reached, None):
                self.write(recorded)
            os.fsync(self._descriptor)
            self.path.replace(old.path.resolve())
            self._run_path.unlink(missing_ok=True)  # the run file that is there has the same settings
        except OSError as error:
            raise OutputError(
                f"{old.path}: cannot be replaced by {self.path}: {error.strerror};"
                " mend that and run the same command again to continue"
            ) from error
        self.path, self._run_path = old.path, old._run_path


def finish_retry(output: Path) -> None:
    """Take over the records of a retry that was killed, or met a full disk, before it could replace the output.

    A retry of another output, or of this one as it was before somebody changed it, is left to be overwritten.

    Raises:
        OutputError: The output cannot be written, or is no output of ours.
    """
    if not _path_of(output).exists():
        return
    with Journal(output) as journal, Retry(journal) as retry:
        if retry.redoes():
            retry.take_place()


def _path_of(output: Path) -> Path:
    """Return a path beside the output itself, not beside a link to it: it can be moved there in one step."""
    file = output.resolve()
    return file.with_name(f".{file.name}.retry")
