"""Gold answers: each shape is read, or its place is named."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lmcot_cli.datasets.gold import gold_like, lost_gold, name_lost_gold, says_unanswerable
from lmcot_cli.datasets.layouts import to_row
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.record import BadRow, Record
from lmcot_cli.datasets.row import Row


def row_of(columns: dict[str, Any], **fields: str) -> Row | BadRow:
    return to_row(Record({"question": "Where?", **columns}, 1), RowOptions(tuple(fields.items())))


def good(columns: dict[str, Any], **fields: str) -> Row:
    row = row_of(columns, **fields)
    assert isinstance(row, Row), row.error
    return row


READ: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"answer": "Lyon"}, ("Lyon",)),
    ({"answer": 0}, ("0",)),
    ({"answer": 3.5}, ("3.5",)),
    ({"answer": False}, ("no",)),
    ({"answer": ["Lyon", None]}, ("Lyon",)),
    ({"answer": ["Lyon", ""]}, ("Lyon",)),
    ({"answer": [1, True]}, ("1", "yes")),
    ({"answers": {"text": ["Lyon", "Lugdunum"], "answer_start": [1, 1]}}, ("Lyon", "Lugdunum")),
    ({"answers": [{"text": "Lyon", "answer_start": 1}]}, ("Lyon",)),
    ({"answer": {"value": "Lyon", "aliases": ["Lugdunum"]}}, ("Lyon", "Lugdunum")),
    ({"answer": {"number": "3", "date": {"day": "", "month": "", "year": ""}, "spans": []}}, ("3",)),
    (
        {"answer": {"number": "", "date": {"day": "3", "month": "May", "year": "1900"}, "spans": []}},
        ("3 May 1900",),
    ),
    ({"answer": {"number": "", "date": {"day": "", "month": "", "year": "1900"}, "spans": []}}, ("1900",)),
    ({"output": [{"answer": "Lyon", "provenance": []}, {"provenance": [], "answer": None}]}, ("Lyon",)),
    ({"answer": "['Lyon', 'Nice']"}, ("Lyon", "Nice")),
    ({"answers": [["Lyon", "Lugdunum"], ["Lyon", None], []]}, ("Lyon", "Lugdunum")),
    ({"gold": "Lyon"}, ("Lyon",)),
    ({"target": ["Lyon"]}, ("Lyon",)),
    ({"answer": None, "gold": "Lyon"}, ("Lyon",)),
    ({"answer": "", "answers": ["Lyon"]}, ("Lyon",)),
]


@pytest.mark.parametrize(("columns", "answers"), READ)
def test_what_is_read(columns: dict[str, Any], answers: tuple[str, ...]) -> None:
    row = good(columns)
    assert row.answers == answers
    assert lost_gold(row) is None


NAMED: list[tuple[dict[str, Any], str]] = [
    ({"label": "Lyon"}, "label"),
    ({"label": 1}, "label"),
    ({"labels": ["Lyon"]}, "labels"),
    ({"gt": "Lyon"}, "gt"),
    ({"expected_output": "Lyon"}, "expected_output"),
    ({"final_answer": "Lyon"}, "final_answer"),
    ({"correct": True}, "correct"),
    ({"Reference Answer": {"text": "Lyon"}}, "Reference Answer"),
    ({"metadata": {"gold": "Lyon"}}, "metadata.gold"),
    ({"annotations": [{"id": 1}, {"short_answers": [{"text": "Lyon"}]}]}, "annotations.short_answers"),
    ({"answer": None, "label": "Lyon"}, "label"),
    ({"answer": [None], "label": "Lyon"}, "label"),
    ({"answer": {}, "label": "Lyon"}, "label"),
    ({"answers": {"text": []}, "solution": "Lyon"}, "solution"),
]


@pytest.mark.parametrize(("columns", "place"), NAMED)
def test_what_is_not_read_is_named_and_the_advice_reads_it(columns: dict[str, Any], place: str) -> None:
    row = good(columns)
    assert row.answers == ()
    assert lost_gold(row) == f"column {place!r} looks like gold answers; --fields answer={place} reads it"
    assert good(columns, answer=place).answers in (("Lyon",), ("1",), ("yes",))


REFUSED: list[dict[str, Any]] = [
    {"answer": {"foo": "Lyon"}},
    {"answer": [{"foo": "Lyon"}]},
    {"answer": [[["Lyon"]]]},
    {"gold": {"city": "Lyon"}},
]


@pytest.mark.parametrize("columns", REFUSED)
def test_what_cannot_be_read_makes_a_bad_row_that_names_the_column(columns: dict[str, Any]) -> None:
    row = row_of(columns)
    assert isinstance(row, BadRow)
    assert f'"{next(iter(columns))}" must be a string or a list of strings' in str(row.error)


NONE: list[dict[str, Any]] = [
    {},
    {"answer": ""},
    {"answers": {"text": [], "answer_start": []}},
    {"label": None, "target_lang": "en", "answer_type": "span", "response_time": 3, "num_answers": 2},
    {"metadata": {"gold": ""}, "level": "hard"},
    {"answers": {"text": []}, "is_impossible": True, "plausible_answers": [{"text": "Lyon"}], "label": 0},
    {"answerable": False, "label": "x"},
]


@pytest.mark.parametrize("columns", NONE)
def test_rows_that_have_none_are_left_in_peace(columns: dict[str, Any]) -> None:
    row = good(columns)
    assert row.answers == ()
    assert lost_gold(row) is None


def test_rows_that_say_that_there_is_no_answer() -> None:
    assert says_unanswerable({"is_impossible": True})
    assert says_unanswerable({"Is Answerable": False})
    assert not says_unanswerable({"is_impossible": False, "answerable": True})
    assert gold_like({"plausible_answers": ["x"]}) == []


def test_a_file_of_mixed_rows_is_spoken_of_once(caplog: pytest.LogCaptureFixture) -> None:
    rows = [good({"answer": "Lyon"}), good({}), *(good({"label": "Nice"}) for _ in range(3))]
    with caplog.at_level(logging.WARNING):
        assert list(name_lost_gold(rows, "q.jsonl")) == rows
    assert [record.getMessage() for record in caplog.records] == [
        "q.jsonl:1: column 'label' looks like gold answers; --fields answer=label reads it"
    ]
