"""A question with its context, as read from any layout."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of the context; `title` is empty if the source has none."""

    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentences joined by single spaces."""
        return " ".join(sentence.strip() for sentence in self.sentences)


class Columns(dict[str, Any]):
    """The columns of a record that are not parts of the row, by name; a type of its own for messages."""

    def kept(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the columns of these names, None for one that does not exist; `*` stands for all."""
        return dict(self) if "*" in names else {name: self.get(name) for name in names}


@dataclass(frozen=True, slots=True)
class Row:
    """A question with its context.

    Attributes:
        id: The record's own id, else its line number, as a string.
        question: The question.
        context: The paragraphs, in the order given.
        answers: The accepted answers; empty if the record has no gold answer.
        type: The question type (`compositional`, `comparison`, ...), if the record has one.
        rationale: A rationale that came with the record (written by a human or a generator), if any.
        line: 1-based position in the input (line of a JSONL file, element of a JSON array).
        supporting: Positions in `context` of the paragraphs that the question needs according to the record; may be
            empty. Answers never use it: it serves `lmcot train rationales` and examples.
        supporting_sentences: The sentences that the question needs according to the record, in its order, as positions
            of the paragraph and of the sentence in it; all sentences of the paragraphs if it names only these.
        extra: The other columns.
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
        """A digest of what the answer depends on, to notice a changed row: 16 hexadecimal digits."""
        parts: list[Any] = [
            self.question,
            [(one.title, one.sentences) for one in self.context],
            self.rationale,
        ]
        parts += [self.extra] if self.extra else []
        return blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()
