"""Few-shot examples: the rows that they are made of, and which of them come before the prompt of a row."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from lmcot_cli.datasets.layouts import to_row
from lmcot_cli.datasets.names import has
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.reader import at_least_one, read_source
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, TooFewShotsError
from lmcot_cli.pipeline.extract import chain_answer
from lmcot_cli.prompts.options import ShotsBy

Ranking: TypeAlias = Callable[[str], Iterable[int]]
"""Returns the positions of a file's rows for a question, the best first."""

_SPARE = 2
"""Rows that one row can exclude: at most one has its id, and at most one its question."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")  # Chinese has no spaces


class ShotRows:
    """Rows to make examples of, with no question and no id twice.

    With `first` all rows have the same examples, so an engine reads them once for the whole run; only for a row that is
    an example itself the next row of the file replaces it.
    With `bm25` the examples of a row are those whose questions share most words with its own (Okapi BM25), the nearest
    one last, right before the question.

    Args:
        path: The file, in any layout that is read.
        count: Number of examples for each row.
        by: How they are chosen.
        rationales: Whether they need a rationale.
        fields: Names of columns, as pairs of ours and theirs; a row without such a column is read by the usual names,
            because examples and questions may come from different files.

    Attributes:
        rows: The rows, each with one answer, with a rationale if there is one (see `rationale_of`), and with only its
            supporting paragraphs as context where the record names them.

    Raises:
        InputError: The file cannot be read, or holds too few usable rows.
    """

    def __init__(
        self,
        path: Path,
        count: int,
        by: ShotsBy,
        *,
        rationales: bool,
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._path, self._count, self._by = path, count, by
        try:
            rows = at_least_one(_rows(path, fields), path)
            self.rows = _read(rows, path, count, rationales=rationales, all_of_them=by == "bm25")
        except InputError as error:
            raise InputError(f"--shots-from {error}") from error
        self._questions = [_normalised(row.question) for row in self.rows]
        self._ranking: Ranking = lambda _: range(len(self.rows))
        if by == "bm25":
            self._ranking = _nearest(self.rows, count + _SPARE)

    def chosen(self, row: Row) -> list[int]:
        """Return the examples of a row, as positions in `rows`, in the order of the prompt.

        Raises:
            TooFewShotsError: Without the row itself, there are too few.
        """
        question = _normalised(row.question)
        others = (
            place
            for place in self._ranking(row.question)
            if self._questions[place] != question and not _same_id(self.rows[place], row)
        )
        found = list(islice(others, self._count))
        if len(found) < self._count:
            raise TooFewShotsError(
                f"--shots {self._count}: without this row itself {self._path} holds only {len(found)}; add rows to it,"
                " or give a lower --shots"
            )
        return found[::-1] if self._by == "bm25" else found

    def digest(self) -> str:
        """Return the SHA-256 (`sha256:...`) over the rows."""
        content = [[row.digest, row.answers] for row in self.rows]
        return f"sha256:{sha256(json.dumps(content).encode()).hexdigest()}"


def rationale_of(row: Row) -> str | None:
    """Return a rationale for a row: the one that came with it, without its answer, else its supporting text.

    This is the sentences, or else the paragraphs, that the record names as supporting, one after the other.
    """
    given = chain_answer(row.rationale)[0] if row.rationale else ""
    sentences = (row.context[place].sentences[number] for place, number in row.supporting_sentences)
    return _one_line(given) or _one_line(" ".join(sentences)) or None


@dataclass(slots=True)
class _Read:
    """The usable rows that were read, and counts of the others."""

    usable: list[Row] = field(default_factory=list)
    rows: int = 0
    without_answer: int = 0
    without_rationale: int = 0
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def add(self, row: Row, *, rationales: bool) -> None:
        self.rows += 1
        example = _example(row)
        self.without_answer += not example.answers
        self.without_rationale += rationales and not example.rationale
        names = {("id", row.id), ("question", _normalised(row.question))}
        if example.answers and (example.rationale or not rationales) and not names & self._seen:
            self._seen |= names
            self.usable.append(example)

    def check(self, path: Path, count: int, *, rationales: bool) -> None:
        """Refuse too few usable rows, and say what the others lack."""
        if len(self.usable) >= count:
            return
        wanted = "an answer and a rationale (or supporting facts)" if rationales else "an answer"
        lacking = {"answer": self.without_answer, "rationale": self.without_rationale}
        reasons = [f"{number} have no {what}" for what, number in lacking.items() if number]
        because = f" ({', '.join(reasons)})" if reasons else ""
        raise InputError(
            f"{path}: {len(self.usable)} of its {self.rows} rows can be examples, each of which needs {wanted} and a"
            f" question of its own{because}; --shots {count} needs {count}"
        )


def _rows(path: Path, fields: tuple[tuple[str, str], ...]) -> Iterator[Row | BadRow]:
    """Read the rows of a file, each by the fields that it has."""
    for record in read_source(path):
        if isinstance(record, BadRow):
            yield record
        else:
            there = tuple((ours, theirs) for ours, theirs in fields if has(record.value, theirs))
            yield to_row(record, RowOptions(there))


def _read(
    rows: Iterator[Row | BadRow], path: Path, count: int, *, rationales: bool, all_of_them: bool
) -> list[Row]:
    read = _Read()
    for row in rows:
        if isinstance(row, BadRow):
            raise InputError(row.located(str(path)))
        read.add(row, rationales=rationales)
        if not all_of_them and len(read.usable) == count + _SPARE:
            break
    read.check(path, count, rationales=rationales)
    return read.usable


def _example(row: Row) -> Row:
    """Return a row with only the parts that an example shows: whole contexts would fill the window."""
    return replace(
        row,
        context=tuple(row.context[place] for place in row.supporting) or row.context,
        answers=tuple(_one_line(answer) for answer in row.answers[:1]),
        rationale=rationale_of(row),
        supporting=(),
        supporting_sentences=(),
    )


def _one_line(text: str) -> str:
    """Return text on one line: a blank line would split an example that is rendered as plain text."""
    return " ".join(text.split())


def _normalised(question: str) -> str:
    """Return a question without differences in case, spaces, character forms and final punctuation."""
    folded = unicodedata.normalize("NFKC", question).casefold()
    return " ".join(folded.split()).strip(" ?!.\u3002\u00bf\u00a1\"'") or folded


def _same_id(one: Row, other: Row) -> bool:
    """Whether two rows have the same id; line numbers in place of ids mean nothing across files."""
    are_lines = one.id == str(one.line) and other.id == str(other.line)
    return one.id == other.id and not are_lines


def _nearest(rows: Sequence[Row], most: int) -> Ranking:
    """Return a ranking of `most` rows by the BM25 of their questions (Robertson & Zaragoza 2009, as in Lucene)."""
    import bm25s
    import numpy as np

    index = bm25s.BM25()
    # A question without a word would break the index; the empty one is in no question.
    index.index([words_of(row.question) or [""] for row in rows], show_progress=False)

    def rank(question: str) -> Iterable[int]:
        words = words_of(question)
        scores = index.get_scores(words) if words else np.zeros(len(rows))
        return [int(place) for place in np.argsort(-scores, kind="stable")[:most]]  # of equals the first

    return rank


def words_of(text: str) -> list[str]:
    """Return the words of a text for BM25; in scripts without spaces, its characters."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
