"""Scoring given rationales, with the fluency that a model lends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError
from lmcot_train.models import is_encoder_decoder, open_base
from lmcot_train.prompting import RationalePrompts
from lmcot_train.rewards.scoring import RationaleToScore, mean_logprobs, read_given, score

Rows = Callable[..., list[Row]]


@pytest.mark.parametrize("shape", ["llama", "t5"])
def test_logprobs_are_those_of_each_rationale_alone(
    tiny_base: Callable[..., Path], microhop: Rows, shape: str
) -> None:
    opened = open_base(str(tiny_base(shape)))
    prompts = RationalePrompts(opened.tokenizer, encoder_decoder=is_encoder_decoder(opened.model))
    given = [RationaleToScore(row, row.rationale or "") for row in microhop(5)]
    batched = mean_logprobs(opened, prompts, given)
    for one, mean in zip(given, batched, strict=True):
        example = prompts.example(one.row, one.rationale)
        ids, labels = example.prompt, example.completion
        if shape == "llama":
            ids, labels = [*ids, *labels], [*[-100] * len(ids), *labels]
        with torch.no_grad():
            loss = opened.model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
        assert mean == pytest.approx(-loss.item(), abs=1e-4)


def test_rows_and_answers_are_both_read(tmp_path: Path, microhop: Rows) -> None:
    rows = microhop(2)
    questions, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    questions.write_text("".join(json.dumps(to_record(row)) + "\n" for row in rows))
    sample = {"rationale": "Ann was born in Oslo.", "answer": rows[0].answers[0]}
    answers.write_text(json.dumps({"id": rows[0].id, "samples": [sample, sample | {"answer": "no"}]}) + "\n")
    assert [one.rationale for one in read_given(questions, None)] == [row.rationale for row in rows]
    right, wrong = score(read_given(answers, questions))
    assert (right.task, wrong.task) == (1.0, 0.0)
    assert right.to_record()["gold"] == list(rows[0].answers)
    assert right.to_record()["unsupported"] == 1.0, "it speaks of somebody whom the context does not know"
    with pytest.raises(InputError, match="has no row"):
        answers.write_text('{"id": "x", "samples": []}')
        read_given(answers, questions)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (5, '"samples" must be a list of objects'),
        ([5], '"samples" must be a list of objects'),
        ([{"rationale": "Ann was born in Oslo.", "answer": 5}], '"answer" must be a string or null'),
    ],
)
def test_samples_of_another_kind_are_refused(
    tmp_path: Path, microhop: Rows, samples: object, message: str
) -> None:
    (row,) = microhop(1)
    questions, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    questions.write_text(json.dumps(to_record(row)))
    answers.write_text(json.dumps({"id": row.id, "samples": samples}))
    with pytest.raises(InputError, match=rf"answers\.jsonl:1: .*{message}"):
        read_given(answers, questions)


def test_a_rationale_of_another_row_scores_lower(microhop: Rows) -> None:
    rows = microhop(30)
    own = score([RationaleToScore(row, row.rationale or "", row.answers[0]) for row in rows])
    other = score(
        [
            RationaleToScore(row, o.rationale or "", row.answers[0])
            for row, o in zip(rows, rows[::-1], strict=True)
        ]
    )
    assert sum(a.aspect_mean > b.aspect_mean for a, b in zip(own, other, strict=True)) >= 28
