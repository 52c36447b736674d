"""Exact match, F1 and inclusion of one prediction, by the rules of the official evaluation scripts.

Exact match and F1 follow the data sets' own scripts; inclusion is ours (see `Scores`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum

from lmcot_cli.scoring.normalize import normalize_answer

_CLOSED_ANSWERS = frozenset({"yes", "no", "noanswer"})


class Rules(StrEnum):
    """The evaluation script to follow.

    For HotpotQA and 2WikiMultiHopQA, F1 is 0 where prediction or gold is yes, no or noanswer and they differ ("yes,
    both" against "yes"), and where nothing is left of both after normalising. MuSiQue has no such rules: nothing
    against nothing has F1 1.
    """

    HOTPOTQA = "hotpotqa"
    TWOWIKI = "2wiki"
    MUSIQUE = "musique"


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one prediction, each 0 to 1.

    Attributes:
        exact_match: 1 if prediction and gold are equal once normalised.
        f1: Harmonic mean of precision and recall.
        precision: Share of the prediction's tokens that the gold answer has too, as multisets.
        recall: Share of the gold answer's tokens that the prediction has too, as multisets.
        inclusion: 1 if the gold answer's tokens occur in the prediction's in one run; where no token is left
            of the gold answer, 1 only if none is left of the prediction.
    """

    exact_match: float
    f1: float
    precision: float
    recall: float
    inclusion: float


NO_SCORE = Scores(0.0, 0.0, 0.0, 0.0, 0.0)
"""The scores of a prediction that is missing."""


def score_answer(prediction: str | None, accepted: Sequence[str], rules: Rules = Rules.HOTPOTQA) -> Scores:
    """Return the best of each score, taken separately, of a prediction over its accepted answers.

    Args:
        prediction: The answer; None, a missing answer, scores 0 whatever the gold answer is.
        accepted: The gold answer and its aliases, at least one.
        rules: The script to follow.
    """
    if prediction is None:
        return NO_SCORE
    each = [astuple(_score_pair(prediction, gold, rules)) for gold in accepted]
    return Scores(*map(max, zip(*each, strict=True)))


def exact_match(prediction: str | None, accepted: Sequence[str]) -> bool:
    """Whether a prediction equals one of the accepted answers once normalised; the same by all rules."""
    if prediction is None:
        return False
    normalized = normalize_answer(prediction)
    return any(normalized == normalize_answer(gold) for gold in accepted)


def _score_pair(prediction: str, gold: str, rules: Rules) -> Scores:
    predicted, wanted = normalize_answer(prediction), normalize_answer(gold)
    precision, recall, f1 = _overlap(predicted, wanted, rules)
    return Scores(float(predicted == wanted), f1, precision, recall, _inclusion(predicted, wanted))


def _overlap(predicted: str, wanted: str, rules: Rules) -> tuple[float, float, float]:
    """Return precision, recall and F1 of two normalised answers."""
    if rules is not Rules.MUSIQUE and predicted != wanted and {predicted, wanted} & _CLOSED_ANSWERS:
        return 0.0, 0.0, 0.0
    if rules is Rules.MUSIQUE and predicted == wanted == "":
        return 1.0, 1.0, 1.0
    predicted_tokens, wanted_tokens = predicted.split(), wanted.split()
    common = (Counter(predicted_tokens) & Counter(wanted_tokens)).total()
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / len(predicted_tokens), common / len(wanted_tokens)
    return precision, recall, 2 * precision * recall / (precision + recall)


def _inclusion(predicted: str, wanted: str) -> float:
    if not wanted:
        return float(not predicted)
    return float(f" {wanted} " in f" {predicted} ")
