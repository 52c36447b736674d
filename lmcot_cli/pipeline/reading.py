"""How replies are read: by the kind of answer, the user's own expression, and the markers of the prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import SlowPatternError, UsageError
from lmcot_cli.pipeline.answer_kinds import AnswerKind, FreeText
from lmcot_cli.pipeline.answer_schema import Json
from lmcot_cli.pipeline.extract import (
    ChainAnswer,
    answer_ends_early,
    answer_line,
    before_sentence,
    chain_answer,
    tidy_rationale,
)

if TYPE_CHECKING:
    import regex

_SECONDS = 1.0
"""Most time for an expression on one reply; one that is not hostile takes a few microseconds."""


class Read(NamedTuple):
    """The content of a reply.

    Attributes:
        rationale: The text before the answer of a chain; empty for a direct answer.
        answer: The answer; None where there is none, or none of the kind.
        went_on: Whether the reply continued after its answer, so that a limit cut nothing of the answer.
    """

    rationale: str
    answer: str | None
    went_on: bool


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Reads the replies of one stage.

    Attributes:
        kind: The kind of answer.
        pattern: The expression of `--answer-regex`; None for the built-in rules.
        own: Markers that the template of the stage asks for.
    """

    kind: AnswerKind = field(default_factory=FreeText)
    pattern: regex.Pattern[str] | None = None
    own: tuple[str, ...] = ()

    def direct(self, reply: str, row: Row, rationale: str | None = None) -> Read:
        """Read a reply that should be an answer and nothing else.

        Raises:
            RowError: The expression takes too long, or the row lacks something that the kind needs.
        """
        return self._read(reply, ChainAnswer("", self._plain(reply)), row, rationale)

    def chain(self, reply: str, row: Row) -> Read:
        """Read a chain of thought.

        Raises:
            RowError: See `direct`.
        """
        if self.pattern:
            return self._read(reply, self._by_pattern(reply, self.pattern), row, None)
        split = chain_answer(reply, self.own)
        return self._read(reply, split, row, split.rationale)

    def _plain(self, reply: str) -> str | None:
        if self.pattern:
            return self._by_pattern(reply, self.pattern).answer
        return answer_line(reply, self.own)

    def _read(self, reply: str, found: ChainAnswer, row: Row, rationale: str | None) -> Read:
        whole = self.kind.within(reply) if isinstance(self.kind, Json) and not self.pattern else None
        if whole or found.answer is None:  # the whole object is the answer, not a field of it
            return Read(found.rationale, whole, bool(whole))
        spelt = self.kind.spelling(found.answer, row, rationale)
        return Read(found.rationale, spelt, answer_ends_early(reply, found.answer))

    def _by_pattern(self, reply: str, pattern: regex.Pattern[str]) -> ChainAnswer:
        try:
            matches = list(pattern.finditer(reply, timeout=_SECONDS))
        except TimeoutError as error:
            raise SlowPatternError(
                f"--answer-regex takes more than {_SECONDS:g} s on a reply of {len(reply):,} characters:"
                " write it without repetitions within repetitions"
            ) from error
        if not matches:
            return ChainAnswer(tidy_rationale(reply), None)
        last = matches[-1]
        answer = next((group for group in last.groups() if group is not None), last[0]).strip()
        return ChainAnswer(before_sentence(reply, last.start()), answer or None)


def compile_pattern(text: str) -> regex.Pattern[str]:
    """Compile the expression of `--answer-regex`.

    Raises:
        UsageError: The text is not a valid regular expression.
    """
    import regex

    try:
        pattern: regex.Pattern[str] = regex.compile(text)
    except (regex.error, RecursionError, OverflowError) as error:
        shown = text if text.isprintable() else repr(text)
        raise UsageError(f"--answer-regex {shown}: is not a valid regular expression: {error}") from error
    if not text:
        raise UsageError("--answer-regex: is empty; write an expression, its first group around the answer")
    return pattern
