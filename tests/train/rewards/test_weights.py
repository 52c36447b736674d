"""Weights of the aspects: fitted from labels, written, read back, and refused where they are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError
from lmcot_train.rewards.weights import Annotated, fit_weights, load_weights, read_annotated, write_weights

NAMES = ("factuality", "relevance", "logicality")


def labelled(count: int, *, speaks: str) -> list[Annotated]:
    """Rationales that are good where one aspect is high, whatever the others are."""
    random = Random(0)
    drawn = [{name: random.random() for name in NAMES} for _ in range(count)]
    return [Annotated(aspects, aspects[speaks] > 0.5) for aspects in drawn]


def test_the_aspect_that_tells_good_from_bad_gets_the_weight() -> None:
    fit = fit_weights(labelled(200, speaks="relevance"))
    assert max(fit.weights, key=fit.weights.__getitem__) == "relevance"
    assert fit.weights["relevance"] > 0.8
    assert sum(fit.weights.values()) == pytest.approx(1.0)
    assert fit.accuracy > 0.95
    assert fit.accuracy > fit.majority
    assert fit.rows == 200


def test_an_aspect_that_speaks_against_gets_none() -> None:
    drawn = [one.aspects for one in labelled(200, speaks="relevance")]
    fit = fit_weights([Annotated(a, a["factuality"] > a["relevance"]) for a in drawn])
    assert fit.coefficients["relevance"] < 0
    assert fit.weights["relevance"] == 0.0
    assert fit.weights["factuality"] > 0.8


def test_labels_the_wrong_way_round_are_suspected() -> None:
    against = [Annotated(one.aspects, not one.good) for one in labelled(200, speaks="relevance")]
    with pytest.raises(InputError, match="are the labels right"):
        fit_weights([Annotated({"relevance": one.aspects["relevance"]}, one.good) for one in against])


def test_labels_of_one_kind_teach_nothing() -> None:
    with pytest.raises(InputError, match="3 good and 0 bad"):
        fit_weights([Annotated({"factuality": 1.0}, True)] * 3)


def test_weights_read_back_as_they_were_written(tmp_path: Path) -> None:
    source = tmp_path / "annotated.jsonl"
    source.write_text("")
    fit = fit_weights(labelled(50, speaks="factuality"))
    write_weights(tmp_path / "weights.json", fit, source)
    assert load_weights(tmp_path / "weights.json") == fit.weights


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not valid JSON"),
        ("[]", "is not a JSON object; write"),
        ("[" * 100_000, "is not valid JSON"),
        ("{}", "holds no weights: write"),
        ('{"weights": {"beauty": 1}}', "there is no aspect 'beauty'"),
        ('{"weights": {"factuality": -1}}', "0 or more"),
        ('{"weights": {"factuality": 0}}', "not all 0"),
    ],
)
def test_a_file_without_weights_says_what_it_should_hold(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "weights.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_weights(tmp_path / "weights.json")


def write_annotated(path: Path, rows: list[Row], **extra: Any) -> Path:
    records = [
        to_record(row) | {"label": "good"} | extra if good else
        to_record(row) | {"rationale": other.rationale, "label": "bad"} | extra
        for row, other in zip(rows, [*rows[1:], rows[0]], strict=True)
        for good in (True, False)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_rationales_of_other_questions_are_told_from_a_rows_own(
    tmp_path: Path, microhop: Callable[..., list[Row]]
) -> None:
    fit = fit_weights(read_annotated(write_annotated(tmp_path / "annotated.jsonl", microhop(30))))
    assert (fit.rows, fit.good) == (60, 30)
    assert fit.accuracy > 0.9
    assert "fluency" not in fit.weights


def test_fluency_counts_where_every_row_has_a_logprob(
    tmp_path: Path, microhop: Callable[..., list[Row]]
) -> None:
    path = write_annotated(tmp_path / "annotated.jsonl", microhop(5), logprob=-0.5)
    assert "fluency" in fit_weights(read_annotated(path)).weights


def test_a_row_without_a_label_is_named(tmp_path: Path) -> None:
    path = tmp_path / "annotated.jsonl"
    path.write_text('{"question": "Who?", "context": [], "rationale": "Ann.", "label": "fine"}\n')
    with pytest.raises(InputError, match=r'annotated.jsonl:1: needs "rationale" and "label"'):
        read_annotated(path)
