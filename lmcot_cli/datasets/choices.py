"""The choices that a row has in a column of its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from lmcot_cli.datasets.row import Row
from lmcot_cli.datasets.unpack import unpacked_or_none


def row_choices(row: Row) -> tuple[str, ...]:
    """Return the choices in a row's column `choices` or `options`; none if it has no such column.

    The column is a list of texts, numbers or objects with a `text`; or an object with the lists `text` and `label`, as
    in ARC and CommonsenseQA; or an object with the text under each label.
    """
    return _texts(_column(row))


def row_choice_labels(row: Row) -> tuple[str, ...]:
    """Return the labels of a row's choices (A, B, ...) in their order, if it has labels."""
    return _labels(_column(row))


def spelt_out(answers: tuple[str, ...], given: object, choices: object) -> tuple[str, ...]:
    """Return gold answers with the text of a choice added before its label.

    If choices have no labels, a number is a position, from 0, as in MMLU, and is replaced by the text. The text of a
    choice is returned alone.

    Args:
        answers: The gold answers.
        given: The answer as the record has it.
        choices: The choices as the record has them.
    """
    texts, labels = _texts(choices), _labels(choices)
    if not texts or any(answer in texts for answer in answers):
        return answers
    if type(given) is int and not labels:
        return texts[given : given + 1] if 0 <= given < len(texts) else answers
    named = dict(zip(labels or ascii_uppercase, texts, strict=False))
    found = [named[answer.strip()] for answer in answers if answer.strip() in named]
    return tuple(dict.fromkeys([*found, *answers]))


def _texts(column: Any) -> tuple[str, ...]:
    found = _opened(column)
    if isinstance(found, Mapping):
        found = found.get("text") or found.get("choices") or list(found.values())
    if not isinstance(found, Sequence) or isinstance(found, str):
        return ()
    texts = [one.get("text") if isinstance(one, Mapping) else one for one in found]
    return tuple(str(one).strip() for one in texts if isinstance(one, str | int | float) and str(one).strip())


def _labels(column: Any) -> tuple[str, ...]:
    found = _opened(column)
    if isinstance(found, Mapping):
        labels = found.get("label") or ([] if found.get("text") else list(found))
    elif isinstance(found, Sequence) and not isinstance(found, str):
        labels = [one.get("label") for one in found if isinstance(one, Mapping)]
    else:
        return ()
    return tuple(str(one) for one in labels if one is not None)


def _opened(column: Any) -> Any:
    """Return a column's value, decoded if it is a string of JSON, as in tables."""
    return unpacked_or_none(column) if isinstance(column, str) else column


def _column(row: Row) -> Any:
    return row.extra.get("choices") or row.extra.get("options")
