"""Rows out of every layout, and what is said of records that make none."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.datasets import fields
from lmcot_cli.datasets.layouts import layout_of
from lmcot_cli.datasets.names import Place
from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.reader import at_least_one, read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.datasets.streams import source_name
from lmcot_cli.errors import InputError

REAL_FILES = Path(__file__).parents[3] / "shared" / "data"
needs_real_files = pytest.mark.skipif(not REAL_FILES.is_dir(), reason="the real data files are not here")

TEXT = st.text(min_size=1).filter(str.strip)


def read_one(record: object) -> Row | BadRow:
    [row] = read_rows(io.BytesIO(json.dumps(record).encode()))
    return row


def good(record: dict[str, Any]) -> Row:
    row = read_one(record)
    assert isinstance(row, Row), row
    return row


def message(record: dict[str, Any]) -> str:
    row = read_one(record)
    assert isinstance(row, BadRow)
    return str(row.error)


def native(**changes: Any) -> dict[str, Any]:
    return {"id": "r1", "question": "Who?", "context": "Ann did."} | changes


def test_native_row() -> None:
    record = native(answer=["Ann", "Anne"], type="bridge", rationale="Ann did it.")
    assert good(record) == Row(
        "r1", "Who?", (Paragraph("", ("Ann did.",)),), ("Ann", "Anne"), "bridge", "Ann did it.", 1
    )


@pytest.mark.parametrize(
    ("context", "paragraphs"),
    [
        ("", ()),
        ([], ()),
        (["One.", "Two."], (Paragraph("", ("One.",)), Paragraph("", ("Two.",)))),
        ([["Ann", ["One.", " Two."]]], (Paragraph("Ann", ("One.", " Two.")),)),
        ([["Ann", "One. Two."]], (Paragraph("Ann", ("One. Two.",)),)),
        ([["Ann", []]], (Paragraph("Ann", ()),)),
        ({"title": ["Ann"], "sentences": [["One."]]}, (Paragraph("Ann", ("One.",)),)),
    ],
)
def test_context_forms(context: object, paragraphs: tuple[Paragraph, ...]) -> None:
    assert good(native(context=context)).context == paragraphs


@pytest.mark.parametrize(
    ("facts", "supporting"),
    [
        ([["Bo", 0], ["Bo", 3], ["Cy", 1]], (1, 2)),
        ({"title": ["Cy"], "sent_id": [0]}, (2,)),
        ([["Dee", 0]], ()),
        ("Bo", ()),
        ([["Bo"], 3, [4, 4], None], (1,)),
        (None, ()),
    ],
)
def test_supporting_paragraphs_are_found_by_title(facts: object, supporting: tuple[int, ...]) -> None:
    context = [["Ann", ["One."]], ["Bo", ["Two."]], ["Cy", ["Three."]]]
    assert good(native(context=context, supporting_facts=facts)).supporting == supporting


@pytest.mark.parametrize(
    ("fields", "sentences"),
    [
        ({"supporting_facts": [["Bo", 1], ["Ann", 0], ["Bo", 1]]}, ((1, 1), (0, 0))),
        ({"supporting_facts": {"title": ["Ann", "Bo"], "sent_id": [0, 0]}}, ((0, 0), (1, 0))),
        ({"supporting_facts": [["Bo", 7], ["Ann", 0], ["Dee", 0], ["Bo", None], ["Bo", {}]]}, ((0, 0),)),
        ({"supporting_facts": [["Bo"]]}, ((1, 0), (1, 1))),
        ({"supporting": [1]}, ((1, 0), (1, 1))),
        ({"supporting": [1], "supporting_sentences": [[1, 1], [0, 5], 3, [1], [[], 0]]}, ((1, 1),)),
        ({"supporting_facts": "Bo"}, ()),
        ({}, ()),
    ],
)
def test_supporting_sentences(fields: dict[str, object], sentences: tuple[tuple[int, int], ...]) -> None:
    context = [["Ann", ["One."]], ["Bo", ["Two.", "Three."]]]
    assert good(native(context=context, **fields)).supporting_sentences == sentences


def test_supporting_paragraphs_of_musique_are_marked_in_place() -> None:
    paragraphs = [
        {"title": "Ann", "paragraph_text": "One.", "is_supporting": False},
        {"title": "Ann", "paragraph_text": "Two.", "is_supporting": True},
    ]
    row = good({"id": "2hop__1", "question": "Who?", "paragraphs": paragraphs})
    assert row.supporting == (1,)
    assert row.supporting_sentences == ((1, 0),)


@pytest.mark.parametrize("answer", [None, "", " ", [], [""]])
def test_no_answer_is_no_gold(answer: object) -> None:
    assert good(native(answer=answer)).answers == ()


def test_equal_answers_are_one() -> None:
    assert good(native(answer=["Ann", "Ann", "Anne"])).answers == ("Ann", "Anne")


def test_id_is_the_line_number_where_there_is_none() -> None:
    lines = b'\n{"question": "Who?", "context": ""}\n{"id": 7, "question": "Who?", "context": ""}\n'
    rows = list(read_rows(io.BytesIO(lines)))
    assert [(row.id, row.line) for row in rows] == [("2", 2), ("7", 3)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"question": ""}, '"question" is empty'),
        ({"question": 3}, '"question" must be a string, found a number'),
        ({"question": None}, '"question" must be a string, found null'),
        ({"id": 1.5}, '"id" must be a string or a whole number, found a number'),
        ({"id": True}, '"id" must be a string or a whole number, found true'),
        ({"id": ""}, '"id" is empty: give it a value, or leave it out to use the line number'),
        (
            {"answer": ["a", [[1]]]},
            '"answer" must be a string or a list of strings, found a list with a list',
        ),
        (
            {"answer": {"de": "Ann"}},
            '"answer" must be a string or a list of strings, found an object; name the place of the answer in it:'
            " --fields answer=answer.de",
        ),
        (
            {"context": 5},
            '"context" must be a string, a list of strings, [[title, [sentences]], ...] or [{title, text}, ...],'
            " found a number",
        ),
        (
            {"context": [5]},
            '"context"[0] must be a string, [title, [sentences]] or {title, text}, found a number',
        ),
        (
            {"context": ["a", ["b"]]},
            '"context"[1] must be a string, [title, [sentences]] or {title, text}, found a list of 1',
        ),
        ({"context": [[5, []]]}, '"context"[0] has a number as its title, not a string'),
        ({"context": [["a", 5]]}, '"context"[0] has a number as its sentences, not a list of strings'),
        ({"context": [["a", ["b", None]]]}, '"context"[0] has null among its sentences, not a string'),
        (
            {"context": {"title": ["a"], "sentences": []}},
            '"context" must have lists "title" and "sentences" of the same length',
        ),
    ],
)
def test_wrong_field_is_named(changes: dict[str, Any], expected: str) -> None:
    assert message(native(**changes)) == expected


def test_missing_fields_are_named() -> None:
    assert message({"id": "r1", "context": ""}) == (
        'there is no "question"; if another column has the question: --fields question=COLUMN'
    )


def test_bad_row_keeps_the_id_and_question_it_has() -> None:
    bad = read_one(native(context=5))
    assert isinstance(bad, BadRow) and (bad.id, bad.question, bad.line) == ("r1", "Who?", 1)
    nameless = read_one({"id": [], "question": 5})
    assert isinstance(nameless, BadRow) and (nameless.id, nameless.question) == ("1", None)


HOTPOTQA = {"_id": "h1", "question": "Who?", "context": [["Ann", ["One.", " Two."]]], "type": "bridge"}
MUSIQUE = {
    "id": "3hop1__1_2_3",
    "question": "Who?",
    "paragraphs": [{"idx": 0, "title": "Ann", "paragraph_text": "One. Two."}],
    "answer": "Ann",
    "answer_aliases": ["Anne", "Ann"],
}


def test_hotpotqa_record_with_a_rationale_as_microhop_writes_it() -> None:
    row = good(HOTPOTQA | {"answer": "Ann", "supporting_facts": [["Ann", 0]], "rationale": "So Ann."})
    assert (row.id, row.answers, row.type, row.rationale) == ("h1", ("Ann",), "bridge", "So Ann.")
    assert row.context == (Paragraph("Ann", ("One.", " Two.")),)


def test_2wiki_aliases_are_accepted() -> None:
    record = HOTPOTQA | {
        "evidences": [],
        "answer": "France",
        "answer_aliases": ["FR"],
        "demonyms": ["French"],
    }
    assert good(record).answers == ("France", "FR", "French")


def test_musique_record() -> None:
    row = good(MUSIQUE)
    assert (row.id, row.answers, row.type) == ("3hop1__1_2_3", ("Ann", "Anne"), "3hop1")
    assert row.context == (Paragraph("Ann", ("One. Two.",)),)


@pytest.mark.parametrize(
    ("paragraphs", "expected"),
    [
        (
            [{"title": "Ann"}],
            '"paragraphs"[0] is an object without "text"; name the place of the texts with --fields context=...',
        ),
        (
            [{"title": "A", "paragraph_text": "B"}, 5],
            '"paragraphs"[1] must be a string, [title, [sentences]] or {title, text}, found a number',
        ),
        (
            [{"title": "A", "paragraph_text": 5}],
            '"paragraphs"[0] has a number as its sentences, not a list of strings',
        ),
    ],
)
def test_musique_paragraphs_of_the_wrong_type(paragraphs: object, expected: str) -> None:
    assert message(MUSIQUE | {"question_decomposition": [], "paragraphs": paragraphs}) == expected


def test_layouts_are_recognised_record_by_record() -> None:
    ircot = {"_id": "i1", "question": "Who?", "paragraphs": [["Ann", "One."]], "rationale": "So."}
    records: list[dict[str, Any]] = [MUSIQUE, ircot, HOTPOTQA | {"entity_ids": "Q1"}, HOTPOTQA, native()]
    names = ["musique", "ircot", "2wikimultihopqa", "hotpotqa", "native"]
    assert [layout_of(record).name for record in records] == names
    lines = "\n".join(map(json.dumps, records)).encode()
    assert [row.id for row in read_rows(io.BytesIO(lines))] == ["3hop1__1_2_3", "i1", "h1", "h1", "r1"]


@given(
    st.builds(
        Row,
        id=st.text(min_size=1),
        question=TEXT,
        context=st.lists(
            st.builds(Paragraph, title=st.text(), sentences=st.lists(st.text(), max_size=3).map(tuple)),
            max_size=3,
        ).map(tuple),
        answers=st.lists(TEXT, max_size=3, unique=True).map(tuple),
        type=st.none() | TEXT,
        rationale=st.none() | TEXT,
        line=st.just(1),
    )
)
def test_a_written_row_reads_back_the_same(row: Row) -> None:
    assert read_one(to_record(row)) == row


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda s: st.lists(s, max_size=3)))
def test_no_context_raises(context: object) -> None:
    read_one(native(context=context))
    read_one(MUSIQUE | {"paragraphs": context})


def test_missing_file_and_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jsonl: cannot be read: No such file or directory$"):
        list(read_rows(tmp_path / "nowhere.jsonl"))
    with pytest.raises(InputError, match=r"is a folder that datasets did not save \(save_to_disk\)"):
        list(read_rows(tmp_path))


def test_at_least_one_passes_rows_on_and_refuses_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert list(at_least_one(iter([1, 2]), empty)) == [1, 2]
    with pytest.raises(InputError, match=r"empty\.jsonl: is empty"):
        list(at_least_one(read_rows(empty), empty))


def test_standard_input_has_a_name() -> None:
    assert source_name(Path("-")) == source_name(io.BytesIO()) == "standard input"


@needs_real_files
@pytest.mark.parametrize(
    ("name", "layout", "rows"),
    [
        ("hotpotqa_distractor_dev_100", "hotpotqa", 100),
        ("2wikimultihopqa_dev_100", "2wikimultihopqa", 100),
        ("musique_train_100", "musique", 100),
        ("ircot_human_cot_hotpotqa", "ircot", 29),
        ("ircot_human_cot_2wikimultihopqa", "ircot", 20),
        ("ircot_human_cot_musique", "ircot", 20),
    ],
)
def test_real_file_as_array_as_jsonl_and_converted(name: str, layout: str, rows: int, tmp_path: Path) -> None:
    source = REAL_FILES / f"{name}.json"
    records = json.loads(source.read_text("utf-8"))
    assert Counter(layout_of(record).name for record in records) == {layout: rows}
    read = [row for row in read_rows(source) if isinstance(row, Row)]
    assert len(read) == rows
    assert all(row.answers and row.context and row.id for row in read)
    lines = tmp_path / "as.jsonl"
    lines.write_text("\n".join(map(json.dumps, records)))
    assert list(read_rows(lines)) == read
    converted = tmp_path / "converted.jsonl"
    converted.write_text("\n".join(json.dumps(to_record(row), ensure_ascii=False) for row in read), "utf-8")
    assert list(read_rows(converted)) == read


@needs_real_files
def test_real_fields_are_the_records_own() -> None:
    [*rows] = read_rows(REAL_FILES / "musique_train_100.json")
    records = json.loads((REAL_FILES / "musique_train_100.json").read_text("utf-8"))
    for row, record in zip(rows, records, strict=True):
        assert isinstance(row, Row)
        assert row.type == record["id"].split("__")[0]
        assert row.answers == tuple(dict.fromkeys([record["answer"], *record["answer_aliases"]]))
        texts = [paragraph["paragraph_text"] for paragraph in record["paragraphs"]]
        assert [paragraph.sentences for paragraph in row.context] == [(text,) for text in texts]
    assert replace(rows[0], line=1) == rows[0]


def test_a_string_that_spells_an_object_of_other_keys_is_an_answer_itself() -> None:
    assert fields.answers(Place("answer", '{"colour": "red"}')) == ('{"colour": "red"}',)
    assert fields.answers(Place("answer", '{"text": "red", "colour": "x"}')) == ("red",)
