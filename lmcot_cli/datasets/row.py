"""One input record, whatever layout it was read from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of the context; `title` is empty where the source has none."""

    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentences joined by single spaces."""
        return " ".join(sentence.strip() for sentence in self.sentences)


class Columns(dict[str, Any]):
    """The columns of a record that are no part of the row itself, by name; a type of its own, for messages."""

    def kept(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return those of these names, null for one that is not there; `*` stands for all."""
        return dict(self) if "*" in names else {name: self.get(name) for name in names}


@dataclass(frozen=True, slots=True)
class Row:
    """A question with its context.

    Attributes:
        id: The record's own id, else its line number, as a string.
        question: The question.
        context: The paragraphs, in the order given.
        answers: The accepted answers; empty where the record has no gold answer.
        type: The question type (`compositional`, `comparison`, ...) where the record names one.
        rationale: A rationale that came with the record (written by a human or a generator), if any.
        line: 1-based position in the input (line of a JSONL file, element of a JSON array).
        supporting: Positions in `context` of the paragraphs that the record names as those the question needs; empty
            where it names none. No answer is ever given from this: it serves `lmcot train rationales` and examples.
        supporting_sentences: The sentences that the record names as those the question needs, as positions of the
            paragraph and of the sentence in it, in the record's order; whole paragraphs where it names only these.
    """

    id: str
    question: str
    context: tuple[Paragraph, ...]
    answers: tuple[str, ...]
    type: str | None
    rationale: str | None
    line: int
    supporting: tuple[int, ...] = ()
    supporting_sentences: tuple[tuple[int, int], ...] = ()
    extra: Columns = field(default_factory=Columns, hash=False)

    @property
    def digest(self) -> str:
        """A digest of what the answer depends on, so that a changed row is noticed: 16 hexadecimal digits."""
        parts: list[Any] = [
            self.question,
            [(one.title, one.sentences) for one in self.context],
            self.rationale,
        ]
        parts += [self.extra] if self.extra else []
        return blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()
