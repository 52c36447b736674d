"""What `lmcot data` shows: a summary of a question file, and warnings about its bad rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import typer

from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.printable import as_text, printable
from lmcot_cli.datasets.names import Part
from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.datasets.summary import Spread, Summary, context_words
from lmcot_cli.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

MOST_WARNINGS = 20


@dataclass(slots=True)
class BadRowLog:
    """Counts the rows of `source` that cannot be read, and warns about the first ones on stderr."""

    source: str
    count: int = 0

    def add(self, row: BadRow) -> None:
        """Count a row and print what is wrong with it."""
        self.count += 1
        if self.count <= MOST_WARNINGS:
            typer.echo(f"warning: {printable(row.located(self.source))}", err=True)

    def filtered(self, rows: Iterator[Row | BadRow]) -> Iterator[Row]:
        """Yield the rows that can be read."""
        for row in rows:
            if isinstance(row, BadRow):
                self.add(row)
            else:
                yield row

    def raise_if_any(self) -> None:
        """Refuse to end well if rows could not be read.

        Raises:
            InputError: There are such rows; the message says how many.
        """
        if self.count:
            named = "named" if self.count <= MOST_WARNINGS else f"the first {MOST_WARNINGS} named"
            raise InputError(f"{self.source}: rows that could not be read: {self.count} ({named} above)")


def summary_record(summary: Summary) -> dict[str, Any]:
    """Return a summary as a JSON object; sizes are null if there is no row."""
    paragraphs, words = Spread.of(summary.paragraphs), Spread.of(summary.words)
    return {
        "rows": summary.rows,
        "layouts": dict(summary.layouts),
        "read_as": _places(summary),
        "left_over": dict(summary.left),
        "not_understood": dict(summary.unread),
        "types": dict(summary.types),
        "paragraphs": asdict(paragraphs) if paragraphs else None,
        "words": asdict(words) if words else None,
        "with_answer": summary.with_answer,
        "with_aliases": summary.with_aliases,
        "unanswerable": summary.unanswerable,
        "with_rationale": summary.with_rationale,
        "repeated_ids": summary.repeated_ids,
        "bad_rows": [{"line": row.line, "id": row.id, "message": str(row.error)} for row in summary.bad],
        "first": [to_record(row) for row in summary.first],
    }


def print_summary(summary: Summary) -> None:
    """Print a summary and the first rows, one fact per line."""
    bad = f" ({len(summary.bad)} more cannot be read)" if summary.bad else ""
    facts = {
        "layout": _counted(summary.layouts) or "none",
        "rows": f"{summary.rows}{bad}",
        "read as": _read_as(summary),
        "left over": _counted(summary.left) or "no column",
        **_not_understood(summary),
        "types": _counted(summary.types) or "none named",
        "paragraphs": _spread(Spread.of(summary.paragraphs)) + _closed_book(summary),
        "words": _spread(Spread.of(summary.words)),
        "answers": f"{summary.with_answer} rows have one, {summary.with_aliases} of them several"
        + _unanswerable(summary),
        "rationales": f"{summary.with_rationale} rows have one",
        "repeated ids": str(summary.repeated_ids),
    }
    with stdout_console() as console:
        for name, text in facts.items():
            console.print(f"{name:<13}", as_text(text), soft_wrap=True)
        for row in summary.first:
            _print_row(console, row)


def _places(summary: Summary) -> dict[str, dict[str, int]]:
    """Return the places where each part of a row was found, with how often."""
    found: dict[str, dict[str, int]] = {}
    for (part, path), count in summary.places.most_common():
        found.setdefault(part, {})[path] = count
    return {part: found[part] for part in get_args(Part) if part in found}


def _read_as(summary: Summary) -> str:
    parts = (f"{part}: {_counted(paths)}" for part, paths in _places(summary).items())
    return "; ".join(parts) or "nothing"


def _not_understood(summary: Summary) -> dict[str, str]:
    """Return the columns that sound like gold answers, if rows have none."""
    if not summary.unread:
        return {}
    name = summary.unread.most_common(1)[0][0]
    counted = _counted(summary.unread)
    return {"not read": f"{counted}, in rows without an answer; if these are answers: --fields answer={name}"}


def _unanswerable(summary: Summary) -> str:
    count = summary.unanswerable
    return f"; {count} say that there is none and are not scored" if count else ""


def _closed_book(summary: Summary) -> str:
    without = summary.paragraphs[0]
    return f"; {without} rows have none (closed book)" if without else ""


def _counted(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count}" for name, count in ranked)


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    return f"{spread.smallest} to {spread.largest} per context, median {spread.median:g}"


def _print_row(console: Console, row: Row) -> None:
    titles = ", ".join(paragraph.title for paragraph in row.context if paragraph.title)
    facts = {
        "question": row.question,
        "answer": " | ".join(row.answers),
        "type": row.type,
        "context": f"{len(row.context)} paragraphs, {context_words(row)} words",
        "titles": titles,
        "rationale": row.rationale,
    }
    console.print()
    console.print(as_text(row.id, style="bold"), soft_wrap=True)
    for name, text in facts.items():
        if text:
            console.print(f"  {name + ':':<10}", as_text(text), soft_wrap=True)
