"""Self-consistency: the majority over normalised answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lmcot_cli.scoring.normalize import normalize_answer


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of a vote.

    Attributes:
        answer: The winner in its most common spelling; None where no sample had an answer.
        agreement: Votes of the winner as a share of all samples, 0 to 1.
        votes: Votes of each answer in its most common spelling, most votes first.
    """

    answer: str | None
    agreement: float
    votes: dict[str, int]


def count_votes(answers: Sequence[str | None]) -> Vote:
    """Count one vote a sample for its answer; answers that are equal once normalised count together.

    A sample without an answer (None) casts no vote but still counts as a sample, so it lowers the agreement.
    A tie goes to the answer that an earlier sample gave, and so does a tie between spellings.

    Args:
        answers: The answers in the order of the samples.
    """
    spellings: dict[str, list[str]] = {}
    for answer in answers:
        if answer is not None:
            spellings.setdefault(normalize_answer(answer), []).append(answer)
    # Both sorted() and Counter.most_common() keep the order of first appearance among equals.
    ranked = sorted(spellings.values(), key=len, reverse=True)
    votes = {Counter(group).most_common(1)[0][0]: len(group) for group in ranked}
    winner = next(iter(votes), None)
    return Vote(winner, votes[winner] / len(answers) if winner is not None else 0.0, votes)
