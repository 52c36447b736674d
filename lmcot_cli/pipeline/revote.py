"""What other stopping rules and votes would have made of stored samples; no model is asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmcot_cli.errors import InputError, UsageError
from lmcot_cli.pipeline.answer_values import answer_key
from lmcot_cli.pipeline.stopping import StoppingRule, parse_stop
from lmcot_cli.pipeline.vote import Ballot, Vote, VoteBy, count_votes, weight_of
from lmcot_cli.scoring.answers import Answer, Gold
from lmcot_cli.scoring.intervals import Estimate, bootstrap_mean
from lmcot_cli.scoring.metrics import score_answer
from lmcot_cli.scoring.options import ScoringOptions


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one rule.

    Attributes:
        stop: The rule.
        samples: Average number of samples per row.
        times_fewer: The number of all samples divided by that of the rule.
        exact_match: Exact match of the winners; None where no row has a gold answer.
        difference: Exact match less that of all samples, row by row; None likewise.
        other_winners: Rows whose winner differs from that of all samples.
    """

    stop: str
    samples: float
    times_fewer: float
    exact_match: Estimate | None
    difference: Estimate | None
    other_winners: int


@dataclass(frozen=True, slots=True)
class _Row:
    ballots: tuple[Ballot, ...]
    accepted: tuple[str, ...]


def revote(
    answers: Mapping[str, Answer],
    gold: Mapping[str, Gold] | None,
    stops: Sequence[str],
    *,
    samples: int | None,
    vote: VoteBy,
    options: ScoringOptions,
) -> list[Outcome]:
    """Replay each rule of `stops` on the stored samples, in the order in which they were drawn.

    Args:
        answers: Output records, every row with the same number of samples; failed rows are left out.
        gold: The gold rows; None takes the gold answers of the records.
        stops: Rules as `--stop` writes them.
        samples: The number of samples to use per row; None uses all.
        vote: The weight of a vote.
        options: Rules of scoring, and settings of the bootstrap.

    Raises:
        InputError: Rows differ in the number of their samples, or have no log-probability.
        UsageError: A rule does not exist, or rows have fewer samples than asked for.
    """
    rules = {stop: parse_stop(stop) for stop in stops}
    rows = [_row(answer, gold, vote) for answer in answers.values() if not answer.failed]
    planned = _planned(rows, samples)
    rows = [_Row(row.ballots[:planned], row.accepted) for row in rows]
    everything = [count_votes(row.ballots) for row in rows]
    return [_replayed(stop, rule, rows, everything, options) for stop, rule in rules.items()]


def _row(answer: Answer, gold: Mapping[str, Gold] | None, vote: VoteBy) -> _Row:
    accepted = answer.accepted
    if gold is not None:
        accepted = gold[answer.id].accepted if answer.id in gold else ()
    pairs = zip(answer.samples, answer.logprobs, strict=True)
    return _Row(
        tuple(Ballot(text, _weight(answer, text, logprob, vote)) for text, logprob in pairs), accepted
    )


def _weight(answer: Answer, text: str | None, logprob: float | None, vote: VoteBy) -> float:
    if vote == "majority" or text is None:
        return 1.0
    if logprob is None:
        raise InputError(f"row {answer.id!r} has a sample without a log-probability: use --vote majority")
    return weight_of(logprob)


def _planned(rows: Sequence[_Row], samples: int | None) -> int:
    counts = {len(row.ballots) for row in rows}
    if not counts or counts == {0}:
        raise InputError("no row was answered from samples")
    if len(counts) > 1:
        raise InputError(
            f"rows have from {min(counts)} to {max(counts)} samples: draw all of them with --stop none"
        )
    stored = counts.pop()
    if samples is not None and not 1 <= samples <= stored:
        raise UsageError(f"--samples {samples}: rows have {stored}")
    return samples or stored


def _replayed(
    stop: str, rule: StoppingRule, rows: Sequence[_Row], everything: Sequence[Vote], options: ScoringOptions
) -> Outcome:
    drawn = [_draw(rule, row.ballots) for row in rows]
    votes = [count_votes(ballots) for ballots in drawn]
    used = sum(len(ballots) for ballots in drawn)
    right, differences = [], []
    for row, vote, all_votes in zip(rows, votes, everything, strict=True):
        if row.accepted:
            of_all = score_answer(all_votes.answer, row.accepted, options.rules).exact_match
            right.append(score_answer(vote.answer, row.accepted, options.rules).exact_match)
            differences.append(right[-1] - of_all)
    return Outcome(
        stop=stop,
        samples=used / len(rows),
        times_fewer=sum(len(row.ballots) for row in rows) / used,
        exact_match=_estimate(right, options),
        difference=_estimate(differences, options),
        other_winners=sum(not _same(*pair) for pair in zip(votes, everything, strict=True)),
    )


def _draw(rule: StoppingRule, ballots: Sequence[Ballot]) -> list[Ballot]:
    """Return the stored votes that a run with the rule would have drawn."""
    drawn: list[Ballot] = []
    while wave := rule.next_wave(drawn, len(ballots)):
        drawn += ballots[len(drawn) : len(drawn) + wave]
    return drawn


def _same(one: Vote, other: Vote) -> bool:
    if one.answer is None or other.answer is None:
        return one.answer is other.answer
    return answer_key(one.answer) == answer_key(other.answer)


def _estimate(values: Sequence[float], options: ScoringOptions) -> Estimate | None:
    return bootstrap_mean(values, seed=options.seed, resamples=options.resamples) if values else None
