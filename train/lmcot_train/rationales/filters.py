"""Filters: which rationales are fit to learn from. Each is a pure function of a row and one rationale."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from typing import NamedTuple

from lmcot_cli.datasets.row import Row
from lmcot_cli.scoring.metrics import score_answer
from lmcot_cli.scoring.normalize import normalize_answer
from lmcot_train.rationales.options import FilterOptions
from lmcot_train.rewards.penalties import loop_share
from lmcot_train.rewards.reading import CLOSED_ANSWERS, Statement, read_statements


class Candidate(NamedTuple):
    """A rationale for a row.

    Attributes:
        row: The row.
        rationale: The text.
        answer: The answer that it led to, if any.
        judged: Whether the answer counts; a human's rationale may state none.
        logprob: Mean log-probability per token under the model that wrote it, if known.
        drawn: Whether a model wrote it for us.
        seed: The seed that it was drawn with, if any.
    """

    row: Row
    rationale: str
    answer: str | None
    judged: bool = True
    logprob: float | None = None
    drawn: bool = False
    seed: int | None = None


def surest_bounds(passing: Iterable[Candidate], share: float) -> dict[str | None, float]:
    """Return the lowest mean log-probability among the surest `share` of each question type, as far as it is known."""
    known: defaultdict[str | None, list[float]] = defaultdict(list)
    for candidate in passing:
        if candidate.logprob is not None:
            known[candidate.row.type].append(candidate.logprob)
    return {kind: sorted(found, reverse=True)[ceil(share * len(found)) - 1] for kind, found in known.items()}


def reason_against(candidate: Candidate, options: FilterOptions) -> str | None:
    """Return the first of the `FILTERS` that a rationale does not pass, or None."""
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
    "loops": "up to 12 words occur three times in a row, or a sentence occurs twice",
    "copies the context": "more than --max-copied words in a row are in one paragraph word for word",
    "said already": "an earlier sample of the row that passed all of these is the same text",
    "unsure": "the large LM was surer of the --keep-surest share of its question type",
}
"""Every reason to leave a rationale out, in the order of the checks, with its definition."""


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
