"""Which rationales are fit to learn from; every filter is a pure function of a row and one rationale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import UsageError
from lmcot_cli.scoring.metrics import score_answer
from lmcot_cli.scoring.normalize import normalize_answer
from lmcot_train.rewards.penalties import loop_share
from lmcot_train.rewards.reading import CLOSED_ANSWERS, Statement, read_statements


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """What a rationale must be like.

    Attributes:
        min_f1: Least F1 of the answer it led to; None asks for an exact match.
        min_words, max_words: Bounds of its length.
        max_copied: Most words in a row that may stand in one paragraph of the context word for word. A fact may be
            quoted; a rationale that recites paragraphs has chosen nothing.
        min_logprob: Least mean log-probability a token that the large LM gave its rationale; None asks for none.
            A right answer may come of wrong facts, by luck; an LM is often less sure of these.
    """

    min_f1: float | None = None
    min_words: int = 4
    max_words: int = 150
    max_copied: int = 40
    min_logprob: float | None = None

    def check(self) -> None:
        """Refuse bounds that nothing can meet.

        Raises:
            UsageError: Names the option.
        """
        if self.min_f1 is not None and not 0 <= self.min_f1 <= 1:
            raise UsageError(f"--min-f1 {self.min_f1:g}: give a number from 0 to 1")
        if not 1 <= self.min_words <= self.max_words:
            raise UsageError(
                f"--min-words {self.min_words} and --max-words {self.max_words}: give 1 or more, the first no"
                " greater than the second"
            )
        if self.max_copied < 1:
            raise UsageError(f"--max-copied {self.max_copied}: give 1 or more")


class Candidate(NamedTuple):
    """A rationale for a row.

    Attributes:
        row: The row.
        rationale: The text.
        answer: The answer it led to; None where there is none.
        judged: Whether the answer counts; a human's rationale states none.
        logprob: Mean log-probability a token under the model that wrote it, where it is known.
        seed: The seed it was drawn with, where it was drawn.
    """

    row: Row
    rationale: str
    answer: str | None
    judged: bool = True
    logprob: float | None = None
    seed: int | None = None


def reason_against(candidate: Candidate, options: FilterOptions) -> str | None:
    """Name the first filter that a rationale does not pass; None if it passes all (see `FILTERS`)."""
    statements = read_statements(candidate.rationale)
    words = [word for statement in statements for word in statement.words]
    checks = {
        "no gold answer": candidate.judged and not candidate.row.answers,
        "wrong answer": candidate.judged and _is_wrong(candidate, options),
        "answer not in it": not _names_answer(candidate),
        "too short": len(words) < options.min_words,
        "too long": len(words) > options.max_words,
        "loops": loop_share(words) > 0 or _says_twice(statements),
        "unsure": _is_unsure(candidate, options.min_logprob),
        "copies the context": _copies(words, candidate.row, options.max_copied),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


FILTERS = {
    "no gold answer": "there is nothing to judge the answer by",
    "wrong answer": "its answer is no exact match of a gold one (or its F1 is below --min-f1)",
    "answer not in it": "no gold answer, nor its own, occurs in it as a run of words; yes and no need not",
    "too short": "fewer words than --min-words",
    "too long": "more words than --max-words",
    "loops": "up to 12 words stand three times in a row, or a sentence stands twice",
    "unsure": "the large LM gave its tokens a mean log-probability below --min-logprob",
    "copies the context": "more than --max-copied words in a row stand in one paragraph word for word",
    "said already": "an earlier sample of the row is the same text",
}
"""Every reason to leave a rationale out, in the order of asking, with its definition."""


def _is_wrong(candidate: Candidate, options: FilterOptions) -> bool:
    if not candidate.row.answers:
        return False
    scores = score_answer(candidate.answer, candidate.row.answers)
    return scores.f1 < options.min_f1 if options.min_f1 is not None else scores.exact_match < 1


def _is_unsure(candidate: Candidate, least: float | None) -> bool:
    return least is not None and candidate.logprob is not None and candidate.logprob < least


def _names_answer(candidate: Candidate) -> bool:
    answers = [*candidate.row.answers, *([candidate.answer] if candidate.answer else [])]
    wanted = [normalize_answer(answer) for answer in answers]
    text = f" {normalize_answer(candidate.rationale)} "
    return not wanted or any(answer in CLOSED_ANSWERS or f" {answer} " in text for answer in wanted)


def _says_twice(statements: Sequence[Statement]) -> bool:
    return any(count > 1 for count in Counter(statement.words for statement in statements).values())


def _copies(words: Sequence[str], row: Row, most: int) -> bool:
    if len(words) <= most:
        return False
    paragraphs = [
        f" {' '.join(word for statement in read_statements(p.text) for word in statement.words)} "
        for p in row.context
    ]
    runs = (f" {' '.join(words[at : at + most + 1])} " for at in range(len(words) - most))
    return any(run in paragraph for run in runs for paragraph in paragraphs)
