"""Rows of other people's files: which column is taken for what, and what stays over."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.datasets.choices import row_choices
from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import UsageError

ORZEL = (Paragraph("Orzel", ("Launched in 1938.",)), Paragraph("Sep", ("Fitted out later.",)))


def read(record: dict[str, Any], **fields: str) -> Row | BadRow:
    data = io.BytesIO(json.dumps(record, ensure_ascii=False).encode())
    [row] = read_rows(data, RowOptions(tuple(fields.items())))
    return row


def good(record: dict[str, Any], **fields: str) -> Row:
    row = read(record, **fields)
    assert isinstance(row, Row), row.error
    return row


def bad(record: dict[str, Any], **fields: str) -> str:
    row = read(record, **fields)
    assert isinstance(row, BadRow)
    return str(row.error)


@pytest.mark.parametrize(
    "question", ["question", "query", "problem", "prompt", "input", "Question", "QUERY "]
)
@pytest.mark.parametrize(
    "context", ["context", "contexts", "passages", "documents", "docs", "ctxs", "Context"]
)
@pytest.mark.parametrize(
    "answer", ["answer", "answers", "gold", "golden_answers", "target", "output", "Answer"]
)
def test_usual_names_in_any_combination(question: str, context: str, answer: str) -> None:
    row = good({question: "When?", context: ["It was 1938."], answer: "1938", "level": "hard"})
    assert (row.question, row.context, row.answers) == (
        "When?",
        (Paragraph("", ("It was 1938.",)),),
        ("1938",),
    )
    assert row.extra == {"level": "hard"}


@pytest.mark.parametrize(
    ("record", "question", "answers", "extra"),
    [
        ({"query": "B?", "question": "A?"}, "A?", (), {"query": "B?"}),
        ({"question": "A?", "answers": ["b"], "answer": "a"}, "A?", ("a",), {"answers": ["b"]}),
        ({"question": "A?", "answer": None, "target": "t"}, "A?", ("t",), {"answer": None}),
        ({"question": "A?", "answer": "", "answers": []}, "A?", (), {"answers": []}),
        ({"question": "A?", "Question": "B?"}, "A?", (), {"Question": "B?"}),
    ],
)
def test_the_first_name_that_holds_a_value_is_taken(
    record: dict[str, Any], question: str, answers: tuple[str, ...], extra: dict[str, Any]
) -> None:
    row = good(record)
    assert (row.question, row.answers, row.extra) == (question, answers, extra)


def test_input_is_the_context_of_an_instruction() -> None:
    row = good({"instruction": "When?", "input": "It was 1938.", "output": "1938"})
    assert (row.question, row.context) == ("When?", (Paragraph("", ("It was 1938.",)),))
    assert good({"input": "When?", "output": "1938"}).context == ()


PAIRS = [["Orzel", ["Launched in 1938."]], ["Sep", ["Fitted out later."]]]


@pytest.mark.parametrize(
    "context",
    [
        PAIRS,
        [{"title": "Orzel", "text": "Launched in 1938."}, {"title": "Sep", "text": "Fitted out later."}],
        [
            {"title": "Orzel", "sentences": ["Launched in 1938."]},
            {"title": "Sep", "body": "Fitted out later.", "score": 0.5},
        ],
        [
            {"name": "Orzel", "content": "Launched in 1938."},
            {"title": "Sep", "contents": "Fitted out later."},
        ],
        {"title": ["Orzel", "Sep"], "sentences": [["Launched in 1938."], ["Fitted out later."]]},
        {"title": ["Orzel", "Sep"], "text": ["Launched in 1938.", "Fitted out later."]},
        json.dumps(PAIRS),
        json.dumps({"title": ["Orzel", "Sep"], "sentences": [["Launched in 1938."], ["Fitted out later."]]}),
        repr(PAIRS),
        repr([tuple(pair) for pair in PAIRS]),
    ],
)
def test_forms_of_a_context(context: object) -> None:
    assert good({"question": "When?", "context": context}).context == ORZEL


@pytest.mark.parametrize(
    ("context", "texts"),
    [
        ({"is_selected": [0, 1], "passage_text": ["One.", "Two."]}, ["One.", "Two."]),  # MS MARCO
        ({"title": "Orzel", "text": "One."}, ["One."]),
        ({"sentences": ["One.", "Two."]}, ["One. Two."]),
        ([{"page_content": "One.", "metadata": {"page": 3}}], ["One."]),
        ("[1] The first note.", ["[1] The first note."]),
        ("[1, 2]", ["[1, 2]"]),
        ("['it' is no list]", ["['it' is no list]"]),
        ("{'a': 1}", ["{'a': 1}"]),
        ('["One.", "Two."]', ["One.", "Two."]),
    ],
)
def test_texts_of_other_contexts(context: object, texts: list[str]) -> None:
    assert [one.text for one in good({"question": "When?", "context": context}).context] == texts


@pytest.mark.parametrize("context", [None, "", " ", [], "[]", [" "], [{"text": ""}]])
def test_nothing_is_no_context(context: object) -> None:
    assert good({"question": "When?", "context": context}).context == ()


@pytest.mark.parametrize(
    ("answer", "answers"),
    [
        (1938, ("1938",)),
        (1938.0, ("1938",)),
        (2.5, ("2.5",)),
        (-4, ("-4",)),
        (True, ("yes",)),
        (False, ("no",)),
        ([1, "one"], ("1", "one")),
        ({"text": ["Gdynia", "Gdingen"], "answer_start": [3, 9]}, ("Gdynia", "Gdingen")),  # SQuAD's columns
        (
            [{"text": "Gdynia", "answer_start": 3}, {"text": "Gdingen", "answer_start": 9}],
            ("Gdynia", "Gdingen"),
        ),
        ({"value": "Gdynia", "aliases": ["Gdingen"], "normalized_value": "gdynia"}, ("Gdynia", "Gdingen")),
        ({"text": [], "answer_start": []}, ()),
        ('["Gdynia", "Gdingen"]', ("Gdynia", "Gdingen")),
        ("['Gdynia', 'Gdingen']", ("Gdynia", "Gdingen")),
        ("['Gdynia']", ("Gdynia",)),
        ('{"text": ["Gdynia"], "answer_start": [3]}', ("Gdynia",)),
        ("[1, 2]", ("[1, 2]",)),  # the answer to a sum, it may be
        ("{1}", ("{1}",)),
    ],
)
def test_forms_of_an_answer(answer: object, answers: tuple[str, ...]) -> None:
    assert good({"question": "Where?", "answer": answer}).answers == answers


def test_a_number_that_is_none_is_no_answer() -> None:
    [row] = read_rows(io.BytesIO(b'{"question": "Where?", "answer": NaN}'))
    assert isinstance(row, Row) and row.answers == ()


@pytest.mark.parametrize("answer", ["['Gdynia' 'Gdingen']", "{'text': array(['Gdynia'], dtype=object)}"])
def test_a_list_that_numpy_printed_is_refused(answer: str) -> None:
    assert bad({"question": "Where?", "answers": answer}) == (
        '"answers" holds a list as numpy prints it, whose items cannot be told apart:'
        " save the file as Parquet or JSON"
    )


def test_an_output_of_ours_is_no_question() -> None:
    output = {"id": "a", "question": "Q?", "answer": "x", "samples": [], "votes": {}, "agreement": 1.0}
    assert bad(output).startswith("this is an answer that lmcot wrote")


RECORD = {"q": "When?", "meta": {"docs": [{"t": "One."}, {"t": "Two."}]}, "a.b": "x", "answer": "not this"}


def test_places_that_the_user_names() -> None:
    row = good(RECORD, question="q", context="meta.docs.t", answer="a.b", id="meta.docs.0.t")
    assert (row.id, row.question, row.answers) == ("One.", "When?", ("x",))
    assert [one.text for one in row.context] == ["One.", "Two."]
    assert row.extra == {"meta": RECORD["meta"], "answer": "not this"}


def test_a_named_place_that_a_row_lacks() -> None:
    data = b'{"q": "A?", "a": "x"}\n{"question": "B?"}'
    first, second = read_rows(io.BytesIO(data), RowOptions((("question", "q"), ("answer", "a"))))
    assert isinstance(first, Row) and first.answers == ("x",)
    assert isinstance(second, BadRow)
    assert str(second.error).startswith('there is no "q"; ')
    assert "found null" in bad({"q": "A?", "d": [{"t": "One."}, {}]}, question="q", context="d.t")


def test_a_place_that_no_row_has(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "A?", "docs": "One."}\n' * 3)
    rows = read_rows(file, RowOptions((("answer", "a.b"),)))
    with pytest.raises(
        UsageError, match=r"^--fields answer=a\.b: no row of .*q\.jsonl has 'a\.b'; the first has"
    ):
        next(rows)
    stream = read_rows(io.BytesIO(file.read_bytes()), RowOptions((("answer", "a.b"),)))
    assert [next(stream).line for _ in range(3)] == [1, 2, 3]
    with pytest.raises(UsageError, match="--fields answer"):
        next(stream)


def test_columns_are_listed_on_one_line(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps({"question": "A?", "a\nb": 1} | {str(number): 0 for number in range(30)}))
    with pytest.raises(UsageError, match=r"the first has question, a b, 0, .*, 17, and 12 more$"):
        next(read_rows(file, RowOptions((("answer", "a.b"),))))


def test_a_column_to_keep_that_no_row_has(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "A?", "level": 3}\n{"question": "B?", "source": "x"}\n')
    assert len(list(read_rows(file, RowOptions(keep_columns=("level", "source", "*"))))) == 2
    with pytest.raises(
        UsageError, match=r"^--keep-columns levle: .* besides question, .*; the first has level$"
    ):
        list(read_rows(file, RowOptions(keep_columns=("levle", "level"))))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            [("answers", "x")],
            "--fields answers=...: there is no answers; the names are question, context, answer, id",
        ),
        ([("answer", "x"), ("answer", "y")], "--fields: answer appears twice"),
    ],
)
def test_names_that_are_not_ours(pairs: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(UsageError) as error:
        RowOptions(tuple(pairs))
    assert str(error.value).startswith(message)


def test_choices_are_an_extra_column_by_one_name() -> None:
    assert good({"question": "A?", "options": ["x", "y"]}).extra == {"choices": ["x", "y"]}
    assert good({"question": "A?", "c": ["x"]}, choices="c").extra == {"choices": ["x"]}


@pytest.mark.parametrize(
    "record",
    [
        {
            "id": "a",
            "question": "A?",
            "answer": "x",
            "level": {"n": 1},
            "choices": ["x"],
            "supporting_facts": "z",
        },
        {"id": "a", "question": "A?", "query": "B?", "docs": "D.", "source": None},
    ],
)
def test_a_converted_row_is_the_same(record: dict[str, Any]) -> None:
    row = good(record)
    assert good(to_record(row)) == row


def test_a_converted_column_is_not_taken_for_what_the_user_found_elsewhere() -> None:
    row = good({"id": "a", "q": "A?", "question": "no", "gold": "no", "x": []}, question="q", answer="x")
    again = good(to_record(row))
    assert (again.question, again.answers, again.extra) == ("A?", (), {"question_": "no", "gold_": "no"})


def test_the_digest_knows_other_columns_and_stays_where_there_are_none() -> None:
    plain = Row("a", "A?", ORZEL, ("x",), None, "So.", 1)
    assert plain.digest == "335853ba8a38f90f"
    digests = {good({"id": "a", "question": "A?", "level": level}).digest for level in (1, 2, None)}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("more", "answers"),
    [
        ({"choices": {"text": ["Gdynia", "Sopot"], "label": ["A", "B"]}, "answerKey": "B"}, ("Sopot", "B")),
        ({"choices": {"text": ["Gdynia", "Sopot"], "label": ["1", "2"]}, "answerKey": "2"}, ("Sopot", "2")),
        ({"options": ["Gdynia", "Sopot"], "answer": "A"}, ("Gdynia", "A")),
        ({"choices": ["Gdynia", "Sopot"], "answer": 1}, ("Sopot",)),
        ({"choices": ["1", "2"], "answer": 1}, ("1",)),
        ({"choices": ["Gdynia", "Sopot"], "answer": 2}, ("2",)),
        ({"choices": ["Gdynia", "Sopot"], "answer": "Sopot"}, ("Sopot",)),
        ({"choices": '["Gdynia", "Sopot"]', "answer": "B"}, ("Sopot", "B")),
        ({"choices": ["yes", "no"], "answer": True}, ("yes",)),
        ({"choices": ["Gdynia", "Sopot"]}, ()),
    ],
)
def test_a_label_or_a_position_stands_for_its_choice(more: dict[str, Any], answers: tuple[str, ...]) -> None:
    row = good({"question": "Where?", **more})
    assert row.answers == answers
    assert good(to_record(row)).answers == answers


def test_choices_in_a_string_are_choices() -> None:
    assert row_choices(good({"question": "Where?", "choices": '["Gdynia", "Sopot"]'})) == ("Gdynia", "Sopot")


def test_rows_of_pubmedqa() -> None:
    row = good(
        {"pubid": 7, "question": "Is it?", "context": {"contexts": ["A.", "B."], "labels": ["X", "Y"]},
         "long_answer": "Yes, it is.", "final_decision": "yes"}
    )  # fmt: skip
    assert (row.id, row.answers, [one.text for one in row.context]) == ("7", ("yes",), ["A.", "B."])


def test_rows_of_triviaqa_and_natural_questions() -> None:
    pages = {"title": ["Orzel"], "wiki_context": ["Launched in 1938."]}
    assert good({"question": "When?", "entity_pages": pages}).context == ORZEL[:1]
    assert good({"question": {"text": "when was it", "tokens": ["when"]}}).question == "when was it"
