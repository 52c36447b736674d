"""Which rationales are fit to learn from; every filter is a pure function of a row and one rationale."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
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
        keep_surest: Of what passes all else, the share of each question type to keep: the rationales to whose tokens
            the large LM gave the highest mean log-probability. None keeps all. A right answer may come of wrong facts,
            by luck, and an LM is less sure of these; but it is less sure of some types of question too, and of these
            a small LM would learn nothing if one bound held for all.
    """

    min_f1: float | None = None
    min_words: int = 4
    max_words: int = 150
    max_copied: int = 40
    keep_surest: float | None = None

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
        if self.keep_surest is not None and not 0 < self.keep_surest <= 1:
            raise UsageError(f"--keep-surest {self.keep_surest:g}: give a share over 0, up to 1")
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
        drawn: Whether a model wrote it for us.
        seed: The seed it was drawn with, where there was one.
    """

    row: Row
    rationale: str
    answer: str | None
    judged: bool = True
    logprob: float | None = None
    drawn: bool = False
    seed: int | None = None


def surest_bounds(passing: Iterable[Candidate], share: float) -> dict[str | None, float]:
    """Find the least mean log-probability with which a rationale of each question type is among the surest `share`.

    Rationales whose log-probability is not known count as none.
    """
    known: defaultdict[str | None, list[float]] = defaultdict(list)
    for candidate in passing:
        if candidate.logprob is not None:
            known[candidate.row.type].append(candidate.logprob)
    return {kind: sorted(found, reverse=True)[ceil(share * len(found)) - 1] for kind, found in known.items()}


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
    "copies the context": "more than --max-copied words in a row stand in one paragraph word for word",
    "said already": "an earlier sample of the row, which passed all of these, is the same text",
    "unsure": "the large LM was surer of the --keep-surest share of its question type",
}
"""Every reason to leave a rationale out, in the order of asking, with its definition."""


def _is_wrong(candidate: Candidate, options: FilterOptions) -> bool:
    if not candidate.row.answers:
        return False
    scores = score_answer(candidate.answer, candidate.row.answers)
    return scores.f1 < options.min_f1 if options.min_f1 is not None else scores.exact_match < 1


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
