"""Weights of the aspects: read from a file, or fitted to rationales that people labelled good or bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from lmcot_cli.datasets.layouts import to_row
from lmcot_cli.datasets.reader import at_least_one, read_source
from lmcot_cli.datasets.record import BadRow, Record
from lmcot_cli.errors import InputError
from lmcot_cli.files import read_object, sha256_of, write_json
from lmcot_train.rewards.aspects import ASPECTS, score_aspects
from lmcot_train.rewards.chain import read_chain

FORMAT = 1
FOLDS = 5
_LABELS = {"good": True, "bad": False, "1": True, "0": False, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Annotated:
    """The aspects of a rationale, and whether a person called it good."""

    aspects: Mapping[str, float]
    good: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights of the aspects, and how well they tell good rationales from bad ones.

    Attributes:
        weights: 0 or more for each aspect that was known; their sum is 1.
        coefficients: Those of the regression; a negative one has weight 0.
        accuracy: Share of rationales that a regression tells right without having seen them (cross-validation).
        majority: The same for giving all rationales the more frequent label.
        rows: Number of rationales.
        good: Number of good ones.
    """

    weights: dict[str, float]
    coefficients: dict[str, float]
    accuracy: float
    majority: float
    rows: int
    good: int


def read_annotated(path: Path) -> list[Annotated]:
    """Read rows with `rationale` and `label` (good or bad), and optional `logprob` for fluency.

    Raises:
        InputError: The file cannot be read, or a row has no rationale or label.
    """
    return [_annotated(record, str(path)) for record in at_least_one(read_source(path), path)]


def fit_weights(annotated: Sequence[Annotated]) -> Fit:
    """Fit a logistic regression of the label on the aspects.

    All aspects range from 0 to 1, so their coefficients can be compared. A coefficient below 0 would reward what people
    call bad; its weight is 0.

    Raises:
        InputError: There are too few good or bad rationales, or no coefficient is above 0.
    """
    labels = np.array([one.good for one in annotated])
    good = int(labels.sum())
    folds = min(FOLDS, good, len(labels) - good)
    if folds < 2:
        raise InputError(
            f"{good} good and {len(labels) - good} bad rationales: label two or more of each, better dozens"
        )
    names = [name for name in ASPECTS if all(name in one.aspects for one in annotated)]
    features = np.array([[one.aspects[name] for name in names] for one in annotated])
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    told = cross_val_predict(model, features, labels, cv=StratifiedKFold(folds, shuffle=True, random_state=0))
    coefficients = dict(zip(names, map(float, model.fit(features, labels).coef_[0]), strict=True))
    return Fit(
        weights=_normalised(coefficients),
        coefficients=coefficients,
        accuracy=float((told == labels).mean()),
        majority=max(good, len(labels) - good) / len(labels),
        rows=len(labels),
        good=good,
    )


def write_weights(path: Path, fit: Fit, source: Path) -> None:
    """Write the weights and the digest of the annotated file.

    Raises:
        OutputError: The file cannot be written.
    """
    record = {"format": FORMAT, **asdict(fit), "data": {source.name: sha256_of(source)}}
    write_json(path, record, "choose another -o")


def load_weights(path: Path) -> dict[str, float]:
    """Read the weights of the aspects; an aspect that the file does not name has weight 0.

    Raises:
        InputError: The file cannot be read or holds no such weights.
    """
    advice = 'write {"weights": {"factuality": 1.0, ...}}, or make it with lmcot train fit-aspects'
    record = read_object(path, InputError, advice)
    try:
        return _checked(record["weights"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: holds no weights: {advice} ({error})") from error


def _checked(weights: Mapping[str, Any]) -> dict[str, float]:
    if unknown := sorted(weights.keys() - ASPECTS.keys()):
        raise ValueError(f"there is no aspect {unknown[0]!r}; there are {', '.join(ASPECTS)}")
    found = {name: float(weight) for name, weight in weights.items()}
    if not all(0 <= weight < float("inf") for weight in found.values()) or not any(found.values()):
        raise ValueError("weights must be 0 or more, and not all 0")
    return found


def _normalised(coefficients: Mapping[str, float]) -> dict[str, float]:
    positive = {name: max(value, 0.0) for name, value in coefficients.items()}
    total = sum(positive.values())
    if not total:
        raise InputError("no aspect is higher in good rationales than in bad ones: are the labels right?")
    return {name: value / total for name, value in positive.items()}


def _annotated(record: Record | BadRow, source: str) -> Annotated:
    row = record if isinstance(record, BadRow) else to_row(record)
    if isinstance(row, BadRow):
        raise InputError(row.located(source))
    assert isinstance(record, Record)
    label = str(record.value.get("label")).lower()
    if not row.rationale or label not in _LABELS:
        raise InputError(f'{source}:{row.line}: needs "rationale" and "label": "good" or "bad"')
    logprob = record.value.get("logprob")
    known = float(logprob) if isinstance(logprob, int | float) else None
    return Annotated(score_aspects(read_chain(row, row.rationale, None, known)), _LABELS[label])
