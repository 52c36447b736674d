"""The public door: rows in, results out, without the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lmcot
from lmcot import AnswerOptions, LmcotError, Request, Row, Sampling, answer, answer_one, open_model

CONTEXT = "Valsen Press is based in West Falmouth. It was founded in 1938."


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "replies.jsonl"
    path.write_text(
        '{"match": "Question: Who", "text": "Ana"}\n{"match": "Question: Where", "text": "Lyon"}\n'
    )
    return f"scripted:{path}"


def test_the_embedded_pair_answers_one_question() -> None:
    result = answer_one("Where is Valsen Press based?", CONTEXT)
    assert result.answer == "West Falmouth"
    assert result.samples[0].rationale


def test_rows_come_from_a_generator_and_results_in_their_order(model: str) -> None:
    taken = []

    def rows() -> Iterator[dict[str, Any]]:
        for number, word in enumerate(["Who", "Where", "Who"]):
            taken.append(number)
            yield {"id": f"q{number}", "question": f"{word} is it?", "context": [CONTEXT], "answer": ["Ana"]}

    results = list(answer(rows(), method="standard", large=model))
    assert [(one.id, one.answer, one.gold) for one in results] == [
        ("q0", "Ana", ("Ana",)), ("q1", "Lyon", ("Ana",)), ("q2", "Ana", ("Ana",)),
    ]  # fmt: skip
    assert taken == [0, 1, 2]


def test_rows_may_be_rows_or_a_file(model: str, tmp_path: Path) -> None:
    options = AnswerOptions(method="standard", large=model)
    row = Row("r", "Who?", (lmcot.Paragraph("", ("x",)),), (), None, None, 1)
    assert [one.answer for one in answer([row], options)] == ["Ana"]
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "Where?"}) + "\n")
    for path in (tmp_path / "q.jsonl", str(tmp_path / "q.jsonl")):
        assert [one.answer for one in answer(path, options)] == ["Lyon"]


def test_an_output_is_continued(model: str, tmp_path: Path) -> None:
    rows = [{"id": str(number), "question": "Who?"} for number in range(3)]
    options = AnswerOptions(method="standard", large=model)
    first = answer(rows, options, output=tmp_path / "out.jsonl")
    assert next(first).id == "0"
    first.close()  # type: ignore[attr-defined]
    rest = list(answer(rows, options, output=tmp_path / "out.jsonl"))
    assert [one.id for one in rest] == ["1", "2"]
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3


def test_a_row_that_fails_stops_nothing_and_one_alone_raises(model: str) -> None:
    bad, good = answer([{"question": 7}, {"question": "Who?"}], method="standard", large=model)
    assert bad.error
    assert good.answer == "Ana"
    with pytest.raises(LmcotError, match="question"):
        answer_one("", method="standard", large=model)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: answer([{}], sample=3), "no such setting: sample; did you mean samples"),
        (lambda: answer([{}], samples="five"), "--samples 'five': give a whole number"),
        (lambda: answer([{}], samples=True), "--samples True: give a whole number"),
        (lambda: answer([{}], AnswerOptions(top_p="x")), "--top-p 'x': give a number"),  # type: ignore[arg-type]
        (lambda: answer({"question": "Who?"}), "one row is not a list of rows"),
        (lambda: answer("Who wrote Hamlet?"), "there is no file 'Who wrote Hamlet.'"),
        (lambda: list(answer([{}], samples=0, top_p=2.0)), "--samples 0: give 1 or more; --top-p 2"),
        (lambda: list(answer([{}], AnswerOptions(), samples=2)), "give options, or single settings"),
        (lambda: list(answer([])), "rows: is empty"),
        (lambda: list(answer([{"question": object()}])), "row 1: is not a JSON object"),
        (lambda: open_model("builtin:small", samples=2), "no such setting: samples"),
        (lambda: open_model("none.gguf"), "none.gguf"),
    ],
)
def test_what_cannot_work_is_an_error_of_ours(call: Any, message: str) -> None:
    with pytest.raises(LmcotError, match=message):
        call()


def test_a_model_may_be_opened_by_itself() -> None:
    with open_model("builtin:small", n_ctx=512, threads=1) as model:
        (done,) = model.complete([Request("Question: Who?\nRationale:", seed=0)], Sampling(max_tokens=4))
    assert not isinstance(done, LmcotError)
    assert done.completion_tokens <= 4


def test_every_public_name_has_a_docstring() -> None:
    for name in lmcot.__all__:
        assert getattr(lmcot, name).__doc__, name


def test_rows_that_failed_can_be_tried_again(model: str, tmp_path: Path) -> None:
    rows, out = [{"question": 7}, {"question": "Who?"}], tmp_path / "out.jsonl"
    options = AnswerOptions(method="standard", large=model)
    assert [bool(one.error) for one in answer(rows, options, output=out)] == [True, False]
    assert [one.answer for one in answer([{"question": "Who?"}, rows[1]], options, output=out, overwrite=True)] == [
        "Ana", "Ana",
    ]  # fmt: skip
    assert list(answer([{"question": "Who?"}, rows[1]], options, output=out, retry_errors=True)) == []
