"""A rationale as the aspects read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from lmcot_cli.datasets.row import Row
from lmcot_cli.scoring.normalize import normalize_answer
from lmcot_train.rewards.grounding import Evidence, Grounded, ground, read_source
from lmcot_train.rewards.reading import CLOSED_ANSWERS, Statement, read_statement, read_statements


@dataclass(frozen=True, slots=True)
class Chain:
    """A rationale.

    Attributes:
        source: Its row.
        statements: Its sentences, without those that have no word.
        answer: The answer that it led to, if known.
        logprob: Mean log-probability per token under the reference LM, if known.
        grounded: The statements with their support in the context.
        words: The words of all statements.
    """

    source: Evidence
    statements: tuple[Statement, ...]
    answer: str | None = None
    logprob: float | None = None
    grounded: tuple[Grounded, ...] = field(init=False)
    words: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        answer = read_statement(self.answer or "").content
        object.__setattr__(self, "grounded", ground(self.statements, self.source, answer))
        object.__setattr__(self, "words", tuple(chain.from_iterable(one.words for one in self.statements)))

    @property
    def claims(self) -> list[Grounded]:
        """The different statements that claim something, without conclusions."""
        return list({one.statement.words: one for one in self.grounded if one.claims}.values())

    @property
    def open_answer(self) -> bool:
        """Whether there is an answer that a text can name, unlike yes and no."""
        return self.answer is not None and normalize_answer(self.answer) not in CLOSED_ANSWERS

    @property
    def compares(self) -> bool:
        """Whether the answer is yes, no or a thing that the question names, all of which must then be compared."""
        if self.answer is None:
            return False
        normalized = normalize_answer(self.answer)
        asked = [normalize_answer(name) for name in self.source.question.entities.union(self.source.anchors)]
        return not self.open_answer or normalized in asked

    def names_answer(self, statements: Iterable[Statement]) -> bool:
        """Whether the answer occurs in a statement as a run of words."""
        assert self.answer is not None
        wanted = f" {normalize_answer(' '.join(read_statement(self.answer).words))} "
        return any(wanted in statement.normalized for statement in statements)


def read_chain(row: Row, rationale: str, answer: str | None = None, logprob: float | None = None) -> Chain:
    """Read a rationale together with its row."""
    return Chain(read_source(row), read_statements(rationale), answer, logprob)
