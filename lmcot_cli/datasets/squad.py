"""SQuAD's own file, and files nested like it: articles with paragraphs, each with its questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lmcot_cli.datasets.record import BadRow, Record


def rows(records: Iterable[Record | BadRow]) -> Iterator[Record | BadRow]:
    """Yield records, an article as one record per question, with consecutive numbers."""
    number = 0
    for record in records:
        questions = None if isinstance(record, BadRow) else _questions(record.value)
        if questions is None:
            number += 1
            yield record
            continue
        for question in questions:
            number += 1
            yield Record(question, number)


def _questions(article: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the questions of an article, each with its context; None if the record is not an article."""
    paragraphs = article.get("paragraphs")
    if not isinstance(paragraphs, list) or not paragraphs:
        return None
    if not all(isinstance(one, dict) and isinstance(one.get("qas"), list) for one in paragraphs):
        return None
    title = {"title": article["title"]} if "title" in article else {}
    return [
        title | {"context": one.get("context")} | question
        for one in paragraphs
        for question in one["qas"]
        if isinstance(question, dict)
    ]
