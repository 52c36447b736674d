"""The choices that a row names in another column of its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmcot_cli.datasets.row import Row


def row_choices(row: Row) -> tuple[str, ...]:
    """Return the choices that a row names in its column `choices` or `options`; none where it names none.

    It is a list of texts, numbers or objects with a `text`; or an object with the lists `text` and `label`, as in ARC
    and CommonsenseQA; or an object that has the text under each label.
    """
    found = _column(row)
    if isinstance(found, Mapping):
        found = found.get("text") or found.get("choices") or list(found.values())
    if not isinstance(found, Sequence) or isinstance(found, str):
        return ()
    texts = [one.get("text") if isinstance(one, Mapping) else one for one in found]
    return tuple(str(one).strip() for one in texts if isinstance(one, str | int | float) and str(one).strip())


def row_choice_labels(row: Row) -> tuple[str, ...]:
    """Return the labels of a row's choices (A, B, ...) where it names them, in their order."""
    found = _column(row)
    if isinstance(found, Mapping):
        labels = found.get("label") or ([] if found.get("text") else list(found))
    elif isinstance(found, Sequence) and not isinstance(found, str):
        labels = [one.get("label") for one in found if isinstance(one, Mapping)]
    else:
        return ()
    return tuple(str(one) for one in labels if one is not None)


def _column(row: Row) -> Any:
    return row.extra.get("choices") or row.extra.get("options")
