"""Which rows are learned from, and which are held out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError
from lmcot_train.refine.rows import fitting, read_answered, split


def rows_of(count: int) -> list[Row]:
    return [Row(str(i), "q" * (i + 1), (), ("a",), None, None, i + 1) for i in range(count)]


def test_rows_without_a_gold_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    lines = [
        {"question": "Q", "context": "C", "answer": "A"},
        {"question": "Q", "context": "C"},
        {"nothing": 1},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said: list[str] = []
    assert [row.answers for row in read_answered(path, None, said.append)] == [("A",)]
    assert said == [f"{path}: left out 2 of 3 rows: unreadable, or no gold answer"]


def test_rows_may_have_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("frage,antwort\nWo?,Oslo\n")
    options = RowOptions((("question", "frage"), ("answer", "antwort")))
    assert [row.answers for row in read_answered(path, None, print, options)] == [("Oslo",)]


def test_a_file_without_gold_answers_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"question": "Q", "context": "C"}) + "\n")
    with pytest.raises(InputError, match="no row has a gold answer"):
        read_answered(path, None, print)


def test_prompts_that_leave_no_room_are_left_out() -> None:
    said: list[str] = []
    kept = fitting(rows_of(5), lambda row: len(row.question), 3, said.append)
    assert [row.id for row in kept] == ["0", "1", "2"]
    assert said == ["left out 2 of 5 rows: their prompts take over 3 tokens"]
    with pytest.raises(InputError, match="--max-tokens"):
        fitting(rows_of(5), lambda row: len(row.question), 0, said.append)
    assert len(fitting(rows_of(5), lambda row: len(row.question), None, said.append)) == 5


def test_rows_held_out_are_not_learned_from_and_follow_from_the_seed() -> None:
    learn, held_out = split(rows_of(50), 8, seed=1)
    assert len(held_out) == 8
    assert {row.id for row in held_out}.isdisjoint(row.id for row in learn)
    assert len(learn) + len(held_out) == 50
    assert split(rows_of(50), 8, seed=1) == (learn, held_out) != split(rows_of(50), 8, seed=2)
    assert len(split(rows_of(50), 64, seed=1)[1]) == 10  # a fifth at most
