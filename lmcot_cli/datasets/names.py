"""Which column of a record is which part of a row: usual names in a fixed order, and places that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from lmcot_cli.datasets.unpack import unpacked_or_none

Part = Literal["question", "context", "answer", "id", "type", "rationale", "choices"]
"""A part of a row that a column can be."""

NAMES: Mapping[Part, tuple[str, ...]] = {
    "question": ("question", "query", "instruction", "problem", "prompt", "input",
        "question_stem", "question_text",
    ),
    "context": (
        "context", "contexts", "passages", "passage", "paragraphs", "documents", "document", "docs", "ctxs",
        "article", "support", "entity_pages",
    ),
    "answer": (
        "answer", "answers", "gold", "gold_answer", "gold_answers", "golden_answers", "ground_truth",
        "ground_truths", "target", "targets", "output",
        "answerkey", "correct_answer", "possible_answers", "answers_spans", "final_decision",
    ),
    "id": ("id", "_id", "qid", "question_id", "query_id", "uid", "pubid", "example_id"),
    "type": ("type", "question_type"),
    "rationale": ("rationale", "reasoning", "explanation", "chain_of_thought"),
    "choices": ("choices", "options"),
}  # fmt: skip
"""The usual names, in lower case. If a record has several for a part, the first one that holds a value is used.

`input` is the context if `instruction` is the question.
"""

Paths = Mapping[Part, str]
"""Places that the user names; such a part is not looked for elsewhere."""

USUAL: Paths = {}
"""The usual names only."""

_MOST_LISTED = 20


class Place(NamedTuple):
    """The path and the value of a part of a record."""

    path: str
    value: Any


@dataclass(frozen=True, slots=True)
class Named:
    """A record whose parts have been found.

    Attributes:
        record: All of it.
        places: The parts it has.
        left: The other columns, in their order.
        paths: The places that the user named.
    """

    record: Mapping[str, Any]
    places: Mapping[Part, Place]
    left: tuple[str, ...]
    paths: Paths

    def place(self, part: Part) -> Place:
        """Return the place of a part; if it is missing, where it should be, with None as its value."""
        return self.places.get(part) or Place(self.paths.get(part, NAMES[part][0]), None)


def understand(record: Mapping[str, Any], paths: Paths) -> Named:
    """Find the parts of a record: where the user says, or else by the usual names."""
    found = {part: Place(path, value_at(record, path)) for part, path in paths.items() if has(record, path)}
    taken = {place.path for place in found.values()}
    plain: dict[str, str] = {}
    for key in record:
        plain.setdefault(spelt_usually(key), key)
    for part in NAMES:
        if part in paths:
            continue
        keys = [_key(record, plain, name) for name in _names(part, found)]
        usable = [key for key in keys if key is not None and key not in taken]
        if usable:
            key = next((key for key in usable if holds(record[key])), usable[0])
            found[part] = Place(key, record[key])
            taken.add(key)
    return Named(record, found, tuple(key for key in record if key not in taken), paths)


def part_of(name: str) -> Part | None:
    """Return the part for which a column of this name could be taken, None if there is none."""
    return next((part for part, names in NAMES.items() if spelt_usually(name) in names), None)


def listed(columns: Iterable[str]) -> str:
    """Return names of columns as one line for a message; of very many, only the first ones."""
    names = [" ".join(name.split()) for name in columns]
    more = [f"and {len(names) - _MOST_LISTED} more"] if len(names) > _MOST_LISTED else []
    return ", ".join([*names[:_MOST_LISTED], *more]) or "none"


def has(record: Mapping[str, Any], path: str) -> bool:
    """Return whether a record has a place."""
    try:
        value_at(record, path)
    except LookupError:
        return False
    return True


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path: `a.b` is `b` in the object `a`, or in each object of the list `a`.

    A column whose name has dots is found as well.

    Raises:
        LookupError: There is no such place.
    """
    return record[path] if path in record else _walk(record, path.split("."))


def _walk(value: Any, steps: list[str]) -> Any:
    if not steps:
        return value
    if isinstance(value, str):
        value = unpacked_or_none(value)
    if isinstance(value, Mapping):
        return _walk(value[steps[0]], steps[1:])
    if not isinstance(value, list):
        raise LookupError(steps[0])
    if steps[0].isdecimal():
        return _walk(value[int(steps[0])], steps[1:])
    return _walk_each(value, steps)


def _walk_each(items: list[Any], steps: list[str]) -> list[Any]:
    """Walk on in each item; if only some have the place, the others give null."""
    found: list[Any] = []
    missing: LookupError | None = None
    for item in items:
        try:
            found.append(_walk(item, steps))
        except LookupError as error:
            found.append(None)
            missing = error
    if missing and all(value is None for value in found):
        raise missing
    return found


def _names(part: Part, found: Mapping[Part, Place]) -> tuple[str, ...]:
    if part == "context" and "question" in found and spelt_usually(found["question"].path) == "instruction":
        return (*NAMES[part], "input")
    return NAMES[part]


def _key(record: Mapping[str, Any], plain: Mapping[str, str], name: str) -> str | None:
    return name if name in record else plain.get(name)


def spelt_usually(name: str) -> str:
    """Return the name of a column as the usual names are spelt."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def holds(value: object) -> bool:
    """Return whether a value holds anything: null, blanks and empty lists do not."""
    return value is not None and value != [] and not (isinstance(value, str) and not value.strip())
