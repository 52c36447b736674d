"""Read the output of `lmcot answer`, and the gold answers to score it against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lmcot_cli.datasets import fields
from lmcot_cli.datasets.gold import lost_gold
from lmcot_cli.datasets.names import Place
from lmcot_cli.datasets.options import DEFAULT, RowOptions
from lmcot_cli.datasets.reader import at_least_one, read_rows, read_source
from lmcot_cli.datasets.record import BadRow, Record, json_type
from lmcot_cli.datasets.streams import source_name
from lmcot_cli.errors import InputError, RowError


@dataclass(frozen=True, slots=True)
class Answer:
    """The parts of an output record that scoring uses.

    Attributes:
        id: The row's id.
        question: The question; None where the record has none (its row could not be read).
        text: The answer; None where the row failed or no sample held one.
        samples: The answers of the samples, in their order.
        accepted: The gold answers of the record; empty where it has none.
        type: The question type that the record names, if any.
        line: Place in the file, 1-based.
        stopped_early: Whether the row could have drawn more samples.
        failed: Whether the row has an error instead of a result.
        logprobs: The mean log-probability of each sample's answer, None where the model gave none.
    """

    id: str
    question: str | None
    text: str | None
    samples: tuple[str | None, ...]
    accepted: tuple[str, ...]
    type: str | None
    line: int
    stopped_early: bool = False
    failed: bool = False
    logprobs: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Gold:
    """The accepted answers of a row (none where it has no gold answer) and its question type."""

    id: str
    question: str
    accepted: tuple[str, ...]
    type: str | None
    line: int


class _Numbered(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def line(self) -> int: ...


N = TypeVar("N", bound=_Numbered)


def read_answers(source: Path) -> dict[str, Answer]:
    """Read an output file of `lmcot answer` (JSONL, or the same objects in an array), by id and in its order.

    A failed row may have the id of another one (it repeated it, or had none and took its line number). It is left out
    then, because it is no answer to that question.

    Raises:
        InputError: The file cannot be read, is empty, holds something else or an id twice.
    """
    name = source_name(source)
    found: dict[str, Answer] = {}
    for answer in (_answer(record, name) for record in at_least_one(read_source(source), source)):
        first = found.setdefault(answer.id, answer)
        if first.failed:
            found[answer.id] = answer
        elif first is not answer and not answer.failed:
            raise _repeated(answer, first, name)
    return found


def read_gold(source: Path, options: RowOptions = DEFAULT) -> dict[str, Gold]:
    """Read the gold answers of a question file in any layout, by id and in its order.

    Raises:
        UsageError: No row has a column that the options name.
        InputError: The file cannot be read, is empty, has no gold answer, or holds a row that cannot be read or an id
            twice.
    """
    name = source_name(source)
    lost: list[str] = []
    found = _by_id(_gold_rows(source, name, options, lost), name)
    if not any(gold.accepted for gold in found.values()):
        hint = f": {lost[0]}" if lost else ""
        raise InputError(f"{name}: no row has a gold answer{hint}")
    return found


def _gold_rows(source: Path, name: str, options: RowOptions, lost: list[str]) -> Iterator[Gold]:
    """Read gold rows; a note about the first column that looks like gold answers but is not read goes to `lost`."""
    for row in at_least_one(read_rows(source, options), source):
        if isinstance(row, BadRow):
            raise InputError(row.located(name))
        if not lost and (place := lost_gold(row)):
            lost.append(place)
        yield Gold(row.id, row.question, row.answers, row.type, row.line)


def _by_id(items: Iterator[N], name: str) -> dict[str, N]:
    found: dict[str, N] = {}
    for item in items:
        if (first := found.setdefault(item.id, item)) is not item:
            raise _repeated(item, first, name)
    return found


def _repeated(item: _Numbered, first: _Numbered, name: str) -> InputError:
    return InputError(f"{name}:{item.line}: the id {item.id!r} is that of line {first.line} too")


def _answer(record: Record | BadRow, name: str) -> Answer:
    if isinstance(record, BadRow):
        raise InputError(record.located(name))
    try:
        return _checked_answer(record.value, record.line)
    except RowError as error:
        raise InputError(f"{name}:{record.line}: {error}") from error


def _checked_answer(record: Mapping[str, Any], line: int) -> Answer:
    if "context" in record or "paragraphs" in record:
        raise RowError("this is a question, not an answer: give the file that `lmcot answer` wrote")
    if "id" not in record or "answer" not in record:
        missing = "id" if "id" not in record else "answer"
        raise RowError(f'there is no "{missing}": give the file that `lmcot answer` wrote')
    failed = record.get("error") is not None
    samples = [] if failed else sample_records(record.get("samples"))  # of a failed row they are no answers
    return Answer(
        id=fields.identifier(Place("id", record["id"]), line),
        question=fields.optional_text(record, "question"),
        text=optional_answer(record["answer"]),
        samples=tuple(optional_answer(sample.get("answer")) for sample in samples),
        logprobs=tuple(_logprob(sample.get("logprob")) for sample in samples),
        accepted=fields.texts(record, "gold"),
        type=fields.optional_text(record, "type"),
        line=line,
        stopped_early=bool(record.get("samples_saved")),
        failed=failed,
    )


def optional_answer(value: object) -> str | None:
    """Return the answer of a record; raise RowError if it is neither a string nor null."""
    if value is not None and not isinstance(value, str):
        raise RowError(f'"answer" must be a string or null, found {json_type(value)}')
    return value


def sample_records(value: object) -> list[dict[str, object]]:
    """Return the samples of a record, if any; raise RowError if they are no list of objects."""
    samples = [] if value is None else value
    if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
        raise RowError('"samples" must be a list of objects')
    return samples


def _logprob(value: object) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise RowError(f'"logprob" must be a number or null, found {json_type(value)}')
    return value
