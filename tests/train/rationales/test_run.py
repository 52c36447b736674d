"""From the teacher's answers, or people's rationales, to the file that distillation reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, LmcotError, OutputError, UsageError
from lmcot_train.rationales.filters import FilterOptions
from lmcot_train.rationales.run import Origin, answers_path, collect, read_supporting

SOURCE = {
    "question": "Where was Ann Moore born?",
    "context": [["Ann Moore", ["Ann Moore was born in Oslo."]]],
}
RIGHT, WRONG = "Ann Moore was born in Oslo.", "Ann Moore was born in Rome."


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def questions(folder: Path, count: int = 2) -> Path:
    return write(
        folder / "questions.jsonl", *(SOURCE | {"id": str(i), "answer": "Oslo"} for i in range(count))
    )


def answered(row: str, *samples: tuple[str, str]) -> dict[str, Any]:
    """An output record of `lmcot answer`."""
    drawn = [
        {"rationale": rationale, "answer": answer, "logprob": -0.1, "tokens": 9, "seed": seed}
        for seed, (rationale, answer) in enumerate(samples)
    ]
    return {"id": row, "question": SOURCE["question"], "answer": None, "samples": drawn, "error": None}


def rows_of(path: Path) -> list[Row]:
    return [row for row in read_rows(path) if isinstance(row, Row)]


def test_what_passes_is_written_and_what_does_not_is_counted(tmp_path: Path) -> None:
    answers = write(
        tmp_path / "answers.jsonl",
        answered(
            "0", (RIGHT, "Oslo"), (RIGHT, "Oslo"), (WRONG, "Rome"), ("So she was born in Oslo.", "Oslo")
        ),
        answered("1", (WRONG, "Rome")),
    )
    output = tmp_path / "rationales.jsonl"
    counts = collect(Origin(questions(tmp_path), answers), output, FilterOptions())
    assert (counts.rows, counts.failed, counts.candidates, counts.kept, counts.rows_kept) == (2, 0, 5, 2, 1)
    assert {reason: count for reason, count in counts.left_out.items() if count} == {
        "wrong answer": 2,
        "said already": 1,
    }
    found = rows_of(output)
    assert [(row.id, row.rationale) for row in found] == [("0", RIGHT), ("0#2", "So she was born in Oslo.")]
    assert all(
        row.answers == ("Oslo",) and row.context and row.question == SOURCE["question"] for row in found
    )
    record = json.loads((tmp_path / "rationales.jsonl.run.json").read_text())
    assert record["counts"]["left_out"] == counts.left_out
    assert record["filters"]["max_copied"] == 40


def test_a_right_answer_is_not_lost_to_a_wrong_one_of_the_same_words(tmp_path: Path) -> None:
    answers = write(
        tmp_path / "answers.jsonl", answered("0", (RIGHT, "Rome"), (RIGHT, "Oslo"), (RIGHT, "Oslo"))
    )
    counts = collect(Origin(questions(tmp_path, 1), answers), tmp_path / "out.jsonl", FilterOptions())
    assert {reason: count for reason, count in counts.left_out.items() if count} == {
        "wrong answer": 1,
        "said already": 1,
    }
    assert counts.kept == 1


def test_rows_that_failed_are_counted_and_passed_over(tmp_path: Path) -> None:
    failed = answered("0") | {"error": {"type": "row_failed", "message": "refused"}}
    answers = write(tmp_path / "answers.jsonl", failed, answered("1", (RIGHT, "Oslo")))
    counts = collect(Origin(questions(tmp_path), answers), tmp_path / "out.jsonl", FilterOptions())
    assert (counts.failed, counts.kept) == (1, 1)


def test_rationales_of_a_file_with_names_of_its_own(tmp_path: Path) -> None:
    source = tmp_path / "human.csv"
    source.write_text(f'frage,text,antwort,weg,stufe\n"{SOURCE["question"]}",{RIGHT},Oslo,{RIGHT},3\n')
    fields = {"question": "frage", "context": "text", "answer": "antwort", "rationale": "weg"}
    rows = RowOptions(tuple(fields.items()))
    counts = collect(Origin(source, rows=rows), tmp_path / "out.jsonl", FilterOptions())
    [row] = rows_of(tmp_path / "out.jsonl")
    assert (counts.kept, row.answers, row.rationale, row.extra) == (1, ("Oslo",), RIGHT, {"stufe": "3"})


def test_the_rationales_of_people_are_read_from_their_rows(tmp_path: Path) -> None:
    source = write(
        tmp_path / "human.jsonl",
        SOURCE | {"id": "a", "answer": "Oslo", "rationale": RIGHT},
        SOURCE | {"id": "b", "answer": "Oslo", "rationale": f"{RIGHT} So the answer is Rome."},
        SOURCE | {"id": "c", "answer": "Oslo", "rationale": f"{RIGHT} So the answer is Oslo."},
        SOURCE | {"id": "d", "answer": "Oslo"},
    )
    output = tmp_path / "out.jsonl"
    counts = collect(Origin(source), output, FilterOptions())
    assert (counts.rows, counts.candidates, counts.left_out["wrong answer"]) == (4, 3, 1)
    assert [(row.id, row.rationale) for row in rows_of(output)] == [("a", RIGHT), ("c", RIGHT)]


def test_when_none_passes_the_file_is_not_written_and_the_reason_is_named(tmp_path: Path) -> None:
    answers = write(tmp_path / "answers.jsonl", answered("0", (WRONG, "Rome")))
    with pytest.raises(InputError, match="none of 1 rationales passes the filters; 1 fail by 'wrong answer'"):
        collect(Origin(questions(tmp_path), answers), tmp_path / "out.jsonl", FilterOptions())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "questions.jsonl"]


def test_rows_without_rationales_are_no_rationales(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no rationale to filter \(2 rows"):
        collect(Origin(questions(tmp_path)), tmp_path / "out.jsonl", FilterOptions())


def test_answers_to_other_questions_are_refused(tmp_path: Path) -> None:
    answers = write(tmp_path / "answers.jsonl", answered("7", (RIGHT, "Oslo")))
    with pytest.raises(InputError, match="is the answer to row '7', not '0'"):
        collect(Origin(questions(tmp_path), answers), tmp_path / "out.jsonl", FilterOptions())


def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    source = questions(tmp_path)
    before = source.read_bytes()
    with pytest.raises(OutputError, match="is not a file of rationales"):
        collect(Origin(source), source, FilterOptions())
    assert source.read_bytes() == before


def test_what_gold_rationales_say_passes(tmp_path: Path, microhop: Callable[..., list[Row]]) -> None:
    from lmcot_cli.datasets.native import to_record

    source = write(tmp_path / "gold.jsonl", *(to_record(row) for row in microhop(50)))
    counts = collect(Origin(source), tmp_path / "out.jsonl", FilterOptions())
    assert counts.kept == 50


def test_a_teacher_that_reads_supporting_paragraphs_alone_is_shown_no_other(tmp_path: Path) -> None:
    context = [["Bo Lee", ["He sings."]], *SOURCE["context"], ["Oslo", ["A city."]]]
    facts = {"supporting_facts": [["Ann Moore", 0], ["Oslo", 0]]}
    asked = write(tmp_path / "q.jsonl", SOURCE | facts | {"id": "0", "answer": "Oslo", "context": context})
    [row] = read_rows(read_supporting(asked))
    assert isinstance(row, Row)
    assert [paragraph.title for paragraph in row.context] == ["Ann Moore", "Oslo"]
    answers = write(tmp_path / "answers.jsonl", answered("0", (RIGHT, "Oslo")))
    collect(Origin(asked, answers), tmp_path / "rationales.jsonl", FilterOptions())
    [kept] = rows_of(tmp_path / "rationales.jsonl")
    assert [paragraph.title for paragraph in kept.context] == ["Bo Lee", "Ann Moore", "Oslo"]


def test_supporting_paragraphs_are_asked_of_the_rows_that_are_taken(tmp_path: Path) -> None:
    """The row beyond the limit names none, which would be refused; one that cannot be read fails by itself."""
    facts = {"supporting_facts": [["Ann Moore", 0]]}
    asked = write(
        tmp_path / "q.jsonl",
        SOURCE | facts | {"id": "0", "answer": "Oslo"},
        {"id": "1", "question": 7},
        SOURCE | facts | {"id": "2", "answer": "Oslo"},
        SOURCE | {"id": "3", "answer": "Oslo"},
    )
    rows = list(read_rows(read_supporting(asked, limit=3)))
    assert [(row.id, isinstance(row, Row)) for row in rows] == [("0", True), ("1", False), ("2", True)]
    failed = answered("1") | {"error": {"type": "row_failed", "message": "no question"}}
    answers = write(
        tmp_path / "answers.jsonl", answered("0", (RIGHT, "Oslo")), failed, answered("2", (RIGHT, "Oslo"))
    )
    counts = collect(Origin(asked, answers, limit=3), tmp_path / "rationales.jsonl", FilterOptions())
    assert (counts.rows, counts.failed, counts.kept) == (3, 1, 2)


def test_a_row_that_names_no_supporting_paragraph_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"questions\.jsonl:1: row '0' names no supporting paragraph"):
        read_supporting(questions(tmp_path))


def never() -> None:
    raise AssertionError("the teacher was asked")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("output", "options", "limit", "message"),
    [
        ("mine.jsonl", FilterOptions(), None, "mine.jsonl: is not a file of rationales"),
        ("answered.jsonl", FilterOptions(), None, "answered.jsonl: is not a file of rationales"),
        ("out.jsonl", FilterOptions(keep_surest=5), None, "--keep-surest 5"),
        ("out.jsonl", FilterOptions(), -1, "--limit -1: give 1 or more"),
        (".", FilterOptions(), None, "is a folder: name a file in it"),
        ("", FilterOptions(), None, "is a folder: name a file in it"),
        ("no/out.jsonl", FilterOptions(), None, "cannot be written: No such file"),
    ],
)
def test_what_cannot_be_is_refused_before_the_teacher_is_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output: str,
    options: FilterOptions,
    limit: int | None,
    message: str,
) -> None:
    source = questions(tmp_path)
    for name in ("mine.jsonl", "answered.jsonl"):
        write(tmp_path / name, {"mine": 1})
    write(tmp_path / "answered.jsonl.run.json", {"settings": {}})
    before = content(tmp_path)
    monkeypatch.chdir(tmp_path)
    origin = Origin(source, answers_path(Path(output)), limit)
    with pytest.raises(LmcotError, match=message):
        collect(origin, Path(output), options, never)
    assert content(tmp_path) == before


def test_an_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "h.jsonl", SOURCE | {"id": "a", "answer": "Oslo", "rationale": RIGHT})
    output = tmp_path / "out.jsonl"
    collect(Origin(source), output, FilterOptions())
    before = content(tmp_path)
    with pytest.raises(UsageError, match="is the input itself"):
        collect(Origin(output), output, FilterOptions())
    with pytest.raises(UsageError, match="is the input itself"):
        collect(Origin(output, output), tmp_path / "other.jsonl", FilterOptions(), never)
    assert content(tmp_path) == before


def test_two_runs_do_not_write_one_output(tmp_path: Path) -> None:
    source = write(tmp_path / "h.jsonl", SOURCE | {"id": "a", "answer": "Oslo", "rationale": RIGHT})
    output = tmp_path / "out.jsonl"

    def second() -> None:
        with pytest.raises(OutputError, match=r"out\.jsonl: another lmcot is writing to it: wait"):
            collect(Origin(source), output, FilterOptions())

    (tmp_path / ".out.jsonl.partial").write_text("left by one that was killed")
    assert collect(Origin(source), output, FilterOptions(), second).kept == 1
    assert len(rows_of(output)) == 1
    assert sorted(content(tmp_path)) == ["h.jsonl", "out.jsonl", "out.jsonl.run.json"]
