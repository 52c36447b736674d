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


def retry_path(output: Path) -> Path:
    """Return where the records are gathered until they can take the output's place."""
    return output.with_name(f".{output.name}.retry")


def _difference(recorded: Recorded, item: Item) -> str | None:
    if item.id != recorded.id:
        return f"but the input has row {item.id!r} there"
    if item.question != recorded.question:
        return "whose question is another in the input"
    digest = item.digest if isinstance(item, Row) else None
    if None not in (digest, recorded.row_digest) and digest != recorded.row_digest:
        return "whose context or rationale is another in the input"
    return None
