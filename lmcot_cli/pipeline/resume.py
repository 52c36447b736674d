"""Walk an input and the records that earlier sessions made of it side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from lmcot_cli.datasets.reader import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import OutputError
from lmcot_cli.pipeline.journal import INSTEAD, Journal, Recorded

Item: TypeAlias = Row | BadRow | Recorded


def matched(
    items: Iterator[Item], journal: Journal, *, redone: bool = False
) -> Iterator[tuple[Recorded, Item]]:
    """Yield every record of the journal with the item of the input that it is the result of.

    Args:
        items: The input.
        journal: The output.
        redone: Whether what failed is answered again, so that its row may have been mended.

    Raises:
        OutputError: They do not belong together; names the line and what differs.
    """
    for recorded in journal.records():
        item = next(items, None)
        place = f"{journal.path}:{recorded.line}: holds the result of row {recorded.id!r}"
        if item is None:
            raise OutputError(
                f"{place}, but the input, or its --limit, ends with row {recorded.line - 1}:"
                f" give the same input, or {INSTEAD}"
            )
        if not (redone and recorded.failed) and (difference := _difference(recorded, item)):
            raise OutputError(f"{place}, {difference}: {INSTEAD}")
        yield recorded, item


def skip_finished(items: Iterator[Item], journal: Journal) -> None:
    """Go up to the first item that has no record.

    Raises:
        OutputError: The records are not of this input.
    """
    for _ in matched(items, journal):
        pass


def failed_again(items: Iterable[Row | BadRow], journal: Journal) -> Iterator[Item]:
    """Yield the records that worked, in the place of each other one its row, and then the rows that follow.

    Raises:
        OutputError: The records are not of this input.
    """
    rest = iter(items)
    for recorded, item in matched(rest, journal, redone=True):
        yield item if recorded.failed else recorded
    yield from rest


def open_retry(journal: Journal) -> Journal:
    """Open the journal where records are gathered until they can take the place of those of `journal`.

    Raises:
        OutputError: It cannot be written.
    """
    return Journal(_retry_path(journal.path), overwrite=True, in_place_of=journal)


def finish_retry(output: Path) -> None:
    """Take over what a retry answered that was killed, or met a full disk, before it could take the output's place.

    What redoes another output, or this one as it was before somebody changed it, is left to be overwritten.

    Raises:
        OutputError: The output cannot be written, or is no output of ours.
    """
    if not _retry_path(output).exists():
        return
    with Journal(output) as journal, open_retry(journal) as retry:
        if retry.redoes():
            retry.take_place()


def _retry_path(output: Path) -> Path:
    """Return a path beside the output itself, not beside a link to it: it can be moved there in one step."""
    file = output.resolve()
    return file.with_name(f".{file.name}.retry")


def is_result_of(recorded: Recorded, item: Row | BadRow) -> bool:
    """Whether a record is the result of a row as it is now."""
    return _difference(recorded, item) is None


def _difference(recorded: Recorded, item: Item) -> str | None:
    if item.id != recorded.id:
        return f"but the input has row {item.id!r} there"
    if item.question != recorded.question:
        return "whose question is another in the input"
    digest = item.digest if isinstance(item, Row) else None
    if None not in (digest, recorded.row_digest) and digest != recorded.row_digest:
        return "whose context or rationale is another in the input, or another column"
    return None
