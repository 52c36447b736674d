"""Score one file of answers: overall, per question type, and by the number of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmcot_cli.errors import InputError
from lmcot_cli.scoring.answers import Answer, Gold
from lmcot_cli.scoring.intervals import Estimate, mean_interval
from lmcot_cli.scoring.metrics import Scores, exact_match, score_answer
from lmcot_cli.scoring.options import ScoringOptions
from lmcot_cli.scoring.self_consistency import majority_at_k, pass_at_k, sample_counts

UNTYPED = "(no type)"


@dataclass(frozen=True, slots=True)
class GroupScores:
    """The mean scores of some rows; `unanswered` is the share of rows without an answer."""

    rows: int
    exact_match: Estimate
    f1: Estimate
    inclusion: Estimate
    unanswered: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of a file of answers.

    Attributes:
        overall: The scores of all rows that have a gold answer.
        by_type: The same for each question type, alphabetically; empty where no row names one.
        majority_at: For k = 1, 2, 4, ... samples, exact match of their vote; empty where rows stopped early.
        pass_at: For the same k, the chance that one of k samples is an exact match.
        missing: Ids of gold rows that have no record; they count as wrong and unanswered.
        unknown: Ids of records that the gold file does not have; they are not scored.
        without_gold: Ids of rows that have no gold answer; they are not scored.
        stopped_early: Rows whose vote was settled before all samples were drawn.
    """

    overall: GroupScores
    by_type: dict[str, GroupScores]
    majority_at: dict[int, Estimate]
    pass_at: dict[int, Estimate]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    without_gold: tuple[str, ...]
    stopped_early: int


@dataclass(frozen=True, slots=True)
class _Judged:
    """A row that is scored."""

    answer: str | None
    samples: tuple[str | None, ...]
    accepted: tuple[str, ...]
    type: str | None
    scores: Scores


def evaluate(
    answers: Mapping[str, Answer], gold: Mapping[str, Gold] | None, options: ScoringOptions, name: str
) -> Evaluation:
    """Score answers against `gold`, or against their own gold answers where it is None.

    Args:
        answers: The output records by id.
        gold: The gold rows by id.
        options: Rules and bootstrap settings.
        name: The name of the answers' file, for errors.

    Raises:
        InputError: No row has a gold answer, or the files have no id in common.
    """
    if gold is not None and answers.keys().isdisjoint(gold):
        raise InputError(f"{name}: has no id in common with the gold file: are they of the same questions?")
    golds = gold if gold is not None else {row_id: _carried(answer) for row_id, answer in answers.items()}
    judged = [_judge(answers.get(row.id), row, options) for row in golds.values() if row.accepted]
    if not judged:
        raise InputError(f"{name}: no row has a gold answer: name the file that has them with --gold FILE")
    stopped_early = sum(answer.stopped_early for answer in answers.values())
    majority, passed = ({}, {}) if stopped_early else _self_consistency(judged, options)
    return Evaluation(
        overall=_group_scores(judged, options),
        by_type=_by_type(judged, options),
        majority_at=majority,
        pass_at=passed,
        missing=tuple(row_id for row_id in golds if row_id not in answers),
        unknown=tuple(row_id for row_id in answers if row_id not in golds),
        without_gold=tuple(row.id for row in golds.values() if not row.accepted),
        stopped_early=stopped_early,
    )


def _carried(answer: Answer) -> Gold:
    return Gold(answer.id, answer.question or "", answer.accepted, answer.type, answer.line)


def _judge(answer: Answer | None, gold: Gold, options: ScoringOptions) -> _Judged:
    text = answer.text if answer else None
    kind = gold.type or (answer.type if answer else None)
    scores = score_answer(text, gold.accepted, options.rules)
    return _Judged(text, answer.samples if answer else (), gold.accepted, kind, scores)


def _estimate(values: Sequence[float], options: ScoringOptions) -> Estimate:
    return mean_interval(values, seed=options.seed, resamples=options.resamples)


def _group_scores(rows: Sequence[_Judged], options: ScoringOptions) -> GroupScores:
    return GroupScores(
        rows=len(rows),
        exact_match=_estimate([row.scores.exact_match for row in rows], options),
        f1=_estimate([row.scores.f1 for row in rows], options),
        inclusion=_estimate([row.scores.inclusion for row in rows], options),
        unanswered=sum(not (row.answer and row.answer.strip()) for row in rows) / len(rows),
    )


def _by_type(rows: Sequence[_Judged], options: ScoringOptions) -> dict[str, GroupScores]:
    groups: dict[str, list[_Judged]] = {}
    for row in rows:
        groups.setdefault(row.type or UNTYPED, []).append(row)
    if groups.keys() == {UNTYPED}:
        return {}
    return {kind: _group_scores(groups[kind], options) for kind in sorted(groups)}


def _self_consistency(
    rows: Sequence[_Judged], options: ScoringOptions
) -> tuple[dict[int, Estimate], dict[int, Estimate]]:
    """Return maj@k and pass@k; samples that a row lacks count as wrong."""
    drawn = max(len(row.samples) for row in rows)
    right = [sum(exact_match(sample, row.accepted) for sample in row.samples) for row in rows]
    majority, passed = {}, {}
    for k in sample_counts(drawn):
        majority[k] = _estimate([majority_at_k(row.samples, row.accepted, k) for row in rows], options)
        passed[k] = _estimate([pass_at_k(count, drawn, k) for count in right], options)
    return majority, passed
