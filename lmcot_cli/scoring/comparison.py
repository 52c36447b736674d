"""Compare two files of answers to the same questions, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmcot_cli.errors import InputError
from lmcot_cli.scoring.answers import Answer, Gold
from lmcot_cli.scoring.intervals import Estimate, mcnemar_exact, paired_interval
from lmcot_cli.scoring.metrics import Scores, score_answer
from lmcot_cli.scoring.options import ScoringOptions


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean score of A and of B, and the difference B - A with its paired interval (see `intervals`)."""

    a: float
    b: float
    difference: Estimate


@dataclass(frozen=True, slots=True)
class McNemar:
    """The rows that only one side has right by exact match, and the two-sided exact p-value."""

    only_a_right: int
    only_b_right: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Flip:
    """A row that one side has right by exact match and the other wrong."""

    id: str
    question: str | None
    a: str | None
    b: str | None
    gold: tuple[str, ...]
    right: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How B differs from A on the rows that both have.

    Attributes:
        rows: Number of rows compared.
        exact_match: Exact match of both and its difference.
        f1: F1 of both and its difference.
        mcnemar: The test of exact match.
        flips: The rows that one side has right and the other wrong, in A's order.
        only_in_a: Ids that B does not have; they are not compared.
        only_in_b: Ids that A does not have; they are not compared.
        without_gold: Ids that both have and that have no gold answer; they are not compared.
    """

    rows: int
    exact_match: Difference
    f1: Difference
    mcnemar: McNemar
    flips: tuple[Flip, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    without_gold: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    a: Answer
    b: Answer
    accepted: tuple[str, ...]
    scores_a: Scores
    scores_b: Scores


def compare(
    a: Mapping[str, Answer], b: Mapping[str, Answer], gold: Mapping[str, Gold] | None, options: ScoringOptions
) -> Comparison:
    """Compare two sets of answers by id, scored against `gold` or else against their own gold answers.

    Raises:
        InputError: No row that both have has a gold answer, or they have different ones for a row.
    """
    shared = [row_id for row_id in a if row_id in b]
    if not shared:
        raise InputError("the two files have no id in common: do they answer the same questions?")
    accepted = {row_id: _accepted(a[row_id], b[row_id], gold) for row_id in shared}
    pairs = [_pair(a[row_id], b[row_id], accepted[row_id], options) for row_id in shared if accepted[row_id]]
    if not pairs:
        raise InputError(
            "no row that both files have has a gold answer: name a file of them with --gold FILE"
        )
    flips = tuple(_flip(pair) for pair in pairs if pair.scores_a.exact_match != pair.scores_b.exact_match)
    return Comparison(
        rows=len(pairs),
        exact_match=_difference([(p.scores_a.exact_match, p.scores_b.exact_match) for p in pairs], options),
        f1=_difference([(pair.scores_a.f1, pair.scores_b.f1) for pair in pairs], options),
        mcnemar=_mcnemar(flips),
        flips=flips,
        only_in_a=tuple(row_id for row_id in a if row_id not in b),
        only_in_b=tuple(row_id for row_id in b if row_id not in a),
        without_gold=tuple(row_id for row_id in shared if not accepted[row_id]),
    )


def _accepted(a: Answer, b: Answer, gold: Mapping[str, Gold] | None) -> tuple[str, ...]:
    if gold is not None:
        return gold[a.id].accepted if a.id in gold else ()
    if a.accepted and b.accepted and {*a.accepted} != {*b.accepted}:
        raise InputError(
            f"the two files have different gold answers for {a.id!r} (lines {a.line} and {b.line}):"
            " if they do answer the same questions, name the right answers with --gold FILE"
        )
    return a.accepted or b.accepted


def _pair(a: Answer, b: Answer, accepted: tuple[str, ...], options: ScoringOptions) -> _Pair:
    scores_a = score_answer(a.text, accepted, options.rules)
    return _Pair(a, b, accepted, scores_a, score_answer(b.text, accepted, options.rules))


def _difference(scores: Sequence[tuple[float, float]], options: ScoringOptions) -> Difference:
    changes = [b - a for a, b in scores]
    return Difference(
        a=sum(a for a, _ in scores) / len(scores),
        b=sum(b for _, b in scores) / len(scores),
        difference=paired_interval(changes, seed=options.seed, resamples=options.resamples),
    )


def _flip(pair: _Pair) -> Flip:
    right = "a" if pair.scores_a.exact_match else "b"
    return Flip(pair.a.id, pair.a.question or pair.b.question, pair.a.text, pair.b.text, pair.accepted, right)


def _mcnemar(flips: Sequence[Flip]) -> McNemar:
    only_a = sum(flip.right == "a" for flip in flips)
    only_b = len(flips) - only_a
    return McNemar(only_a, only_b, mcnemar_exact(only_a, only_b))
