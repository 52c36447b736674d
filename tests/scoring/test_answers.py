"""Reading output records and gold answers, and refusing what is neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.errors import InputError
from lmcot_cli.scoring.answers import Answer, Gold, read_answers, read_gold


def record(**changes: Any) -> dict[str, Any]:
    base = {
        "id": "r1",
        "question": "Who?",
        "answer": "Ann",
        "agreement": 0.5,
        "votes": {"Ann": 1},
        "samples": [
            {"rationale": "So.", "answer": "Ann", "logprob": -1.0, "tokens": 3, "seed": 1},
            {"answer": None},
        ],
        "method": "guided",
        "usage": {},
        "gold": ["Ann", "Anne"],
        "error": None,
    }
    return base | changes


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in records))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_answers(path)
    return str(caught.value).removeprefix(str(path))


def test_record_is_read(tmp_path: Path) -> None:
    [answer] = read_answers(write(tmp_path / "out.jsonl", record(type="bridge"))).values()
    assert answer == Answer(
        "r1", "Who?", "Ann", ("Ann", None), ("Ann", "Anne"), "bridge", 1, logprobs=(-1.0, None)
    )


def test_failed_record_is_read(tmp_path: Path) -> None:
    failed = record(
        question=None, answer=None, samples=[], gold=None, error={"type": "row", "message": "bad"}
    )
    [answer] = read_answers(write(tmp_path / "out.jsonl", failed)).values()
    assert (answer.text, answer.samples, answer.accepted) == (None, (), ())


def test_same_id_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "out.jsonl", record(), record(id="r2"), record())
    assert refusal(path) == ":3: the id 'r1' is that of line 1 too"


def test_torn_last_line_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "out.jsonl", record())
    path.write_text(path.read_text() + '{"id": "r2", "ans')
    assert refusal(path).startswith(":2: not valid JSON")


def test_empty_file_is_refused(tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "out.jsonl")).startswith(": is empty")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (record(answer=5), '"answer" must be a string or null, found a number'),
        (record(samples=5), '"samples" must be a list of objects'),
        (record(samples=[{"answer": []}]), '"answer" must be a string or null, found a list'),
        (record(id=None) | {"id": []}, '"id" must be a string or a whole number, found a list'),
        ({"id": "r1"}, 'there is no "answer": give the file that `lmcot answer` wrote'),
        ({"answer": "Ann"}, 'there is no "id": give the file that `lmcot answer` wrote'),
        (
            {"id": "r1", "question": "Who?", "context": "", "answer": "Ann"},
            "this is a question, not an answer: give the file that `lmcot answer` wrote",
        ),
    ],
)
def test_what_is_no_answer_is_refused(bad: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "out.jsonl", bad)) == f":1: {message}"


def test_gold_of_any_layout(tmp_path: Path) -> None:
    hotpotqa = {"_id": "h1", "question": "Who?", "context": [], "answer": "Ann", "type": "bridge"}
    native = {"question": "Why?", "context": ""}
    gold = read_gold(write(tmp_path / "gold.jsonl", hotpotqa, native))
    assert gold == {"h1": Gold("h1", "Who?", ("Ann",), "bridge", 1), "2": Gold("2", "Why?", (), None, 2)}


def test_gold_row_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "gold.jsonl", {"id": "a", "question": "", "context": ""})
    with pytest.raises(InputError, match=r'gold\.jsonl:1: "question" is empty$'):
        read_gold(path)


@pytest.mark.parametrize("order", [1, -1])
def test_a_failed_row_yields_to_the_answer_whose_id_it_bears(tmp_path: Path, order: int) -> None:
    failed = record(answer=None, samples=[], error={"type": "duplicate_id", "message": "bad"})
    answers = read_answers(write(tmp_path / "out.jsonl", *[record(), failed, failed][::order]))
    assert [answer.text for answer in answers.values()] == ["Ann"]


def test_a_wrong_gold_answer_is_called_by_its_key(tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "out.jsonl", record(gold={"a": 1}))).startswith(
        ':1: "gold" must be a string'
    )
