"""Count what a question file holds, in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lmcot_cli.datasets.gold import gold_like, says_unanswerable
from lmcot_cli.datasets.layouts import layout_of, to_row
from lmcot_cli.datasets.names import Named, Part, understand
from lmcot_cli.datasets.options import DEFAULT, RowOptions
from lmcot_cli.datasets.record import BadRow, Record
from lmcot_cli.datasets.row import Row


@dataclass(frozen=True, slots=True)
class Spread:
    """The smallest, median and largest of some sizes."""

    smallest: int
    median: float
    largest: int

    @classmethod
    def of(cls, sizes: Counter[int]) -> Spread | None:
        """Return the spread of sizes, given how often each occurs; None if there are none."""
        from statistics import median

        return cls(min(sizes), median(sizes.elements()), max(sizes)) if sizes else None


@dataclass(slots=True)
class Summary:
    """What a question file holds.

    Attributes:
        layouts: Number of records by layout.
        types: Number of rows by question type; rows without one are left out.
        paragraphs: Number of rows by the paragraphs of their context.
        words: Number of rows by the words of their context.
        rows: Number of rows that can be read.
        with_answer: Rows with a gold answer.
        with_aliases: Rows with more than one accepted answer.
        unanswerable: Rows without one that say that there is none, as rows of SQuAD 2 do.
        with_rationale: Rows with a rationale.
        places: How often each part of a row was found at each place.
        left: How often other columns occur.
        unread: How often columns that sound like gold answers occur in rows that have none.
        repeated_ids: Rows with the id of an earlier row.
        bad: Records that cannot be rows.
        first: The first rows, as many as requested.
    """

    layouts: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    paragraphs: Counter[int] = field(default_factory=Counter)
    words: Counter[int] = field(default_factory=Counter)
    places: Counter[tuple[Part, str]] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    with_answer: int = 0
    with_aliases: int = 0
    unanswerable: int = 0
    with_rationale: int = 0
    repeated_ids: int = 0
    bad: list[BadRow] = field(default_factory=list)
    first: list[Row] = field(default_factory=list)

    def count(self, row: Row) -> None:
        """Count a row, except for its id and layout."""
        self.rows += 1
        if row.type:
            self.types[row.type] += 1
        self.paragraphs[len(row.context)] += 1
        self.words[context_words(row)] += 1
        self.with_answer += bool(row.answers)
        self.unanswerable += not row.answers and says_unanswerable(row.extra)
        self.with_aliases += len(row.answers) > 1
        self.with_rationale += row.rationale is not None

    def count_columns(self, named: Named, row: Row | BadRow) -> None:
        """Count the places of a record's parts, and its other columns."""
        self.places.update((part, place.path) for part, place in named.places.items())
        left = [name for name in named.left if isinstance(row, BadRow) or name in row.extra]
        self.left.update(left)
        if (isinstance(row, BadRow) or not row.answers) and not says_unanswerable(named.record):
            self.unread.update(gold_like({name: named.record[name] for name in left if name in named.record}))


def context_words(row: Row) -> int:
    """Return the number of words in a row's context, titles included."""
    return sum(len(paragraph.title.split()) + len(paragraph.text.split()) for paragraph in row.context)


def summarize(records: Iterable[Record | BadRow], first: int, options: RowOptions = DEFAULT) -> Summary:
    """Return the summary of some records, with the `first` rows."""
    summary, seen = Summary(), set[str]()
    for record in records:
        row = record if isinstance(record, BadRow) else to_row(record, options)
        if isinstance(record, Record):
            summary.layouts[layout_of(record.value).name] += 1
            summary.count_columns(understand(record.value, options.paths), row)
        if isinstance(row, BadRow):
            summary.bad.append(row)
            continue
        summary.count(row)
        summary.repeated_ids += row.id in seen
        seen.add(row.id)
        if len(summary.first) < first:
            summary.first.append(row)
    return summary
