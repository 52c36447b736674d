"""Which paragraphs of a context are dropped if a prompt has no room for all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, NamedTuple

from lmcot_cli.datasets.row import Paragraph, Row

Truncate = Literal["none", "paragraphs", "relevance"]
"""Paragraphs to drop from a context that is too long: none, the last ones, or the least relevant ones."""

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")


class _Part(NamedTuple):
    """The text of a paragraph, or a part of it, that is dropped as a whole, and the paragraph's place."""

    paragraph: int
    text: str


class Droppable:
    """The context of a row, from which whole paragraphs can be dropped.

    A paragraph that is one text with blank lines, as of a context that is a string, counts as several.

    Args:
        row: The row.
        by: Which are dropped first.
    """

    def __init__(self, row: Row, by: Truncate) -> None:
        self._row, self._by = row, by

    @cached_property
    def most(self) -> int:
        """How many paragraphs can be dropped: all but one, because the question needs a context."""
        return max(len(self._parts) - 1, 0)

    def without(self, count: int) -> Row:
        """Return the row without `count` paragraphs; the others keep their order."""
        if not count:
            return self._row
        gone = set(self._order[:count])
        left: dict[int, list[str]] = {}
        for place, part in enumerate(self._parts):
            if place not in gone:
                left.setdefault(part.paragraph, []).append(part.text)
        context = tuple(self._reduced(place, texts) for place, texts in left.items())
        return replace(self._row, context=context, supporting=(), supporting_sentences=())

    def at_least(self, count: int, characters: float) -> int:
        """Return how many to drop, at least `count`, to remove so many characters."""
        gone = 0
        for dropped, place in enumerate(self._order[: self.most], 1):
            gone += len(self._parts[place].text)
            if dropped >= count and gone >= characters:
                return dropped
        return self.most

    def _reduced(self, place: int, texts: list[str]) -> Paragraph:
        paragraph = self._row.context[place]
        whole = len(texts) == sum(part.paragraph == place for part in self._parts)
        return paragraph if whole else Paragraph(paragraph.title, ("\n\n".join(texts),))

    @cached_property
    def _parts(self) -> list[_Part]:
        return [
            _Part(place, text)
            for place, paragraph in enumerate(self._row.context)
            for text in _split(paragraph)
        ]

    @cached_property
    def _order(self) -> list[int]:
        """The places of the parts in the order in which they are dropped."""
        backwards = list(reversed(range(len(self._parts))))
        if self._by != "relevance":
            return backwards
        titles = [self._row.context[part.paragraph].title for part in self._parts]
        texts = [f"{title} {part.text}" for title, part in zip(titles, self._parts, strict=True)]
        scores = _relevance(texts, self._row.question)
        return sorted(backwards, key=lambda place: scores[place])  # of equals the last


def _split(paragraph: Paragraph) -> list[str]:
    """Split a paragraph that is one text at its blank lines."""
    if len(paragraph.sentences) != 1:
        return [paragraph.text]
    return [text for text in _BLANK_LINES.split(paragraph.text) if text.strip()] or [paragraph.text]


def _relevance(texts: Sequence[str], question: str) -> Sequence[float]:
    """Score texts against a question by BM25, as examples are chosen (see `ShotRows`)."""
    import bm25s

    from lmcot_cli.prompts.shots import words_of

    asked = words_of(question)
    if not asked:
        return [0.0] * len(texts)
    index = bm25s.BM25()
    index.index([words_of(text) or [""] for text in texts], show_progress=False)
    return [float(score) for score in index.get_scores(asked)]
