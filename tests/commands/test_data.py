"""`lmcot data convert` and `lmcot data inspect`, from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app

REAL_FILES = Path(__file__).parents[3] / "shared" / "data"
needs_real_files = pytest.mark.skipif(not REAL_FILES.is_dir(), reason="the real data files are not here")

HOTPOTQA: dict[str, Any] = {
    "_id": "h1",
    "question": "Who [red]did\x1b it?",
    "context": [["Ann [b]", ["One.", " Two."]]],
    "answer": "Ann",
    "type": "bridge",
    "supporting_facts": [["Ann", 0]],
}
CONVERTED = {
    "id": "h1",
    "question": HOTPOTQA["question"],
    "context": HOTPOTQA["context"],
    "answer": "Ann",
    "type": "bridge",
}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps([HOTPOTQA, HOTPOTQA | {"_id": "h2"}]))
    return path


def lmcot(*arguments: object, stdin: bytes | None = None) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_convert_to_stdout(questions: Path) -> None:
    result = lmcot("data", "convert", questions)
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines(result.stdout) == [CONVERTED, CONVERTED | {"id": "h2"}]


def test_convert_from_stdin(questions: Path) -> None:
    result = lmcot("data", "convert", "-", "--limit", 1, stdin=questions.read_bytes())
    assert lines(result.stdout) == [CONVERTED]


def test_convert_to_a_file_that_may_be_the_input(questions: Path) -> None:
    result = lmcot("data", "convert", questions, "-o", questions, "--overwrite")
    assert (result.exit_code, result.output) == (0, "")
    assert lines(questions.read_text("utf-8")) == [CONVERTED, CONVERTED | {"id": "h2"}]
    assert [path.name for path in questions.parent.iterdir()] == ["questions.json"]


@pytest.mark.parametrize("command", [["convert"], ["synth", "--rows", "1"]])
def test_what_exists_is_replaced_only_where_that_is_asked_for(command: list[str], questions: Path) -> None:
    out, given = questions.with_name("out.jsonl"), [questions] if command == ["convert"] else []
    out.write_text("mine")
    result = lmcot("data", *command, *given, "-o", out)
    assert result.exit_code == 1
    assert result.stderr == f"error: {out}: exists: choose another -o, or replace it with --overwrite\n"
    assert out.read_text() == "mine"
    assert lmcot("data", *command, *given, "-o", out, "--overwrite").exit_code == 0
    assert out.read_text() != "mine"


def test_a_linked_output_stays_a_link(questions: Path) -> None:
    link = questions.with_name("link.jsonl")
    link.symlink_to(questions.with_name("out.jsonl"))
    assert lmcot("data", "convert", questions, "-o", link).exit_code == 0
    assert link.is_symlink() and len(lines(link.read_text("utf-8"))) == 2


def test_an_output_that_is_no_regular_file_is_not_replaced(questions: Path) -> None:
    pipe = questions.with_name("pipe")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert lmcot("data", "convert", questions, "-o", pipe).exit_code == 0
        assert pipe.is_fifo()
        assert len(lines(os.read(reader, 65536).decode())) == 2
    finally:
        os.close(reader)


def test_bad_rows_are_named_and_the_others_converted(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(
        b'{"question": "Who?\n' + json.dumps(CONVERTED).encode() + b'\n{"a": "\xff"}\n{"id": "x"}'
    )
    result = lmcot("data", "convert", path)
    assert result.exit_code == 1
    assert lines(result.stdout) == [CONVERTED]
    assert result.stderr.splitlines() == [
        f"warning: {path}:1: not valid JSON: invalid control character (column 19); write one object a line",
        f"warning: {path}:3: byte 8 of the line (0xff) is not UTF-8;"
        " to convert a file from an older encoding: iconv -f WINDOWS-1252 -t UTF-8",
        f'warning: {path}:4: there is no "question"; if another column has the question:'
        " --fields question=COLUMN",
        f"error: {path}: rows that could not be read: 3 (named above)",
    ]


def test_only_the_first_bad_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("x\n" * 50)
    result = lmcot("data", "convert", path)
    assert result.stderr.count("warning:") == 20
    assert result.stderr.splitlines()[-1].endswith(
        "rows that could not be read: 50 (the first 20 named above)"
    )


@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_no_rows_and_no_file_are_errors(command: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    result = lmcot("data", command, empty)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {empty}: is empty")
    result = lmcot("data", command, tmp_path / "none")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: {tmp_path / 'none'}: cannot be read: No such file or directory\n"


def test_a_failed_conversion_leaves_no_file(tmp_path: Path) -> None:
    result = lmcot("data", "convert", tmp_path / "none", "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_unwritable_output(questions: Path) -> None:
    out = questions.parent / "no" / "out.jsonl"
    result = lmcot("data", "convert", questions, "-o", out)
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {out}: cannot be written: No such file or directory\n",
    )


def test_inspect_shows_text_as_it_is_without_control_characters(questions: Path) -> None:
    result = lmcot("data", "inspect", questions, "--rows", 1)
    assert result.exit_code == 0
    shown = [line.strip() for line in result.stdout.splitlines()]
    assert "layout        hotpotqa 2" in shown
    assert "types         bridge 2" in shown
    assert "words         4 to 4 per context, median 4" in shown
    assert "question:  Who [red]did it?" in shown
    assert "titles:    Ann [b]" in shown
    assert "h1" in shown and "h2" not in shown


def test_inspect_json(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(CONVERTED) + "\n[]")
    result = lmcot("data", "inspect", path, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["rows"], report["layouts"], report["types"]) == (1, {"native": 1}, {"bridge": 1})
    assert report["paragraphs"] == {"smallest": 1, "median": 1, "largest": 1}
    assert report["first"] == [CONVERTED]
    assert [(row["line"], row["id"]) for row in report["bad_rows"]] == [(2, "2")]
    assert f"{path}:2: not a JSON object but a list" in result.stderr


@pytest.mark.parametrize("arguments", [["convert"], ["inspect", "--rows", "500"]])
def test_closed_pipe_ends_quietly(arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text((json.dumps(CONVERTED | {"question": "x" * 2000}) + "\n") * 500)
    command = [sys.executable, "-m", "lmcot_cli", "data", *arguments, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        assert process.stdout.read(5)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 141


@needs_real_files
@pytest.mark.parametrize("path", sorted(REAL_FILES.glob("*.json")), ids=lambda path: path.stem)
def test_real_file_converts_once_and_for_all(path: Path, tmp_path: Path) -> None:
    first = lmcot("data", "convert", path, "-o", tmp_path / "once.jsonl")
    again = lmcot("data", "convert", tmp_path / "once.jsonl", "-o", tmp_path / "twice.jsonl")
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert (tmp_path / "once.jsonl").read_bytes() == (tmp_path / "twice.jsonl").read_bytes()
    assert len(lines((tmp_path / "once.jsonl").read_text("utf-8"))) == len(
        json.loads(path.read_text("utf-8"))
    )
    assert lmcot("data", "inspect", path).exit_code == 0


def test_synth_writes_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    out = tmp_path / "questions.jsonl"
    command = ["data", "synth", "--rows", "5", "--seed", "3"]
    assert CliRunner().invoke(app, [*command, "-o", str(out)]).exit_code == 0
    assert CliRunner().invoke(app, command).stdout_bytes == out.read_bytes()
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["_id"] for record in records] == [f"microhop-test-3-{i}" for i in range(5)]


def test_synth_makes_questions_as_hard_as_asked(tmp_path: Path) -> None:
    command = ["data", "synth", "--rows", "30", "--min-hops", "4", "--max-hops", "4", "--distractors", "0"]
    records = [json.loads(line) for line in CliRunner().invoke(app, command).stdout.splitlines()]
    assert {record["hops"] for record in records} == {4}
    assert {len(record["context"]) for record in records} <= {3, 4}  # two chains may share an end


def test_synth_refuses_what_it_cannot_make() -> None:
    result = CliRunner().invoke(app, ["data", "synth", "--max-hops", "9"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --max-hops 9: give a number from 2 to 4")
    result = CliRunner().invoke(app, ["data", "synth", "--min-hops", "4", "--max-hops", "2"])
    assert result.exit_code == 2
    assert result.stderr == "error: --min-hops 4 is above --max-hops 2\n"


def test_inspect_says_what_was_read_as_what_and_what_was_not(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    rows = [
        {"query": "A?", "docs": [{"title": "T", "text": "One."}], "level": 3, "label": "x"},
        {"query": "B?", "label": "y"},
        {"question": "C?", "answer": "z", "label": "y"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    shown = lmcot("data", "inspect", path, "--rows", 0).stdout.splitlines()
    assert "read as       question: query 2, question 1; context: docs 1; answer: answer 1" in shown
    assert "left over     label 3, level 1" in shown
    assert (
        "not read      label 2, in rows without an answer; if these are answers: --fields answer=label"
        in shown
    )
    assert "paragraphs    0 to 1 per context, median 0; 2 rows have none (closed book)" in shown

    report = json.loads(lmcot("data", "inspect", path, "--json", "--fields", "answer=label").stdout)
    assert report["read_as"] == {
        "question": {"query": 2, "question": 1},
        "context": {"docs": 1},
        "answer": {"label": 3},
    }
    assert (report["left_over"], report["not_understood"]) == ({"level": 1, "answer": 1}, {})
    assert report["with_answer"] == 3


@pytest.mark.parametrize("command", ["convert", "inspect"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("question", "--fields question: write OURS=THEIRS, such as question=query,context=docs"),
        ("frage=question", "--fields frage=...: there is no frage; the names are question, context, answer"),
        ("answer=a.b", "--fields answer=a.b: no row of"),
    ],
)
def test_fields_that_are_wrong(command: str, fields: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(CONVERTED))
    result = lmcot("data", command, path, "--fields", fields)
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {message}")


def test_convert_takes_a_table_with_names_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text('frage;antwort;stufe\n"Wo; und wann?";Gdynia;3\n')
    result = lmcot("data", "convert", path, "--fields", "question=frage,answer=antwort")
    assert lines(result.stdout) == [
        {"id": "1", "question": "Wo; und wann?", "context": [], "answer": "Gdynia", "stufe": "3"}
    ]
