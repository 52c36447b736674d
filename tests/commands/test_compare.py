"""`lmcot compare`, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app


def lmcot(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(path: Path, **texts: str | None) -> Path:
    records = [
        {"id": row_id, "question": f"Who is [i]{row_id}?", "answer": text, "gold": ["fox"]}
        for row_id, text in texts.items()
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return write(tmp_path / "a.jsonl", q1="fox", q2="hen", q3="fox", q4="hen", only="fox")


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return write(tmp_path / "b.jsonl", q1="fox", q2="fox", q3=None, q4="[red]fox\x1b[0m")


def test_table_and_flips(a: Path, b: Path) -> None:
    result = lmcot("compare", a, b, "--show", 1)
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.strip()}
    assert rows["EM"][:3] == ["50.0", "50.0", "+0.0"]
    assert "Right only in A: 1, only in B: 1; exact McNemar test p = 1." in result.stdout
    assert "q2 (B is right)" in result.stdout
    assert "question: Who is [i]q2?" in result.stdout
    assert "q3" not in result.stdout
    assert result.stderr.splitlines() == [
        f"note: rows of {a} only, not compared: 1 (only)",
        "note: flipped rows not shown: 1 (--show 2 shows them all)",
    ]


def test_model_text_is_shown_as_it_is_without_control_characters(a: Path, tmp_path: Path) -> None:
    result = lmcot("compare", a, write(tmp_path / "c.jsonl", q1="[red]hen\x1b[31m"))
    assert "  B:        [red]hen[31m" in result.stdout
    assert "\x1b" not in result.stdout


def test_json_lists_every_flip(a: Path, b: Path) -> None:
    report = json.loads(lmcot("compare", a, b, "--json", "--resamples", 100).stdout)
    assert [flip["id"] for flip in report["flips"]] == ["q2", "q3"]
    assert report["flips"][1] == {
        "id": "q3",
        "question": "Who is [i]q3?",
        "a": "fox",
        "b": None,
        "gold": ["fox"],
        "right": "a",
    }
    assert report["mcnemar"] == {"only_a_right": 1, "only_b_right": 1, "p_value": 1}
    assert (report["rows"], report["only_in_a"], report["only_in_b"]) == (4, ["only"], [])


def test_gold_file(a: Path, b: Path, tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"id": "q2", "question": "Who?", "context": "", "answer": "hen"}))
    report = json.loads(lmcot("compare", a, b, "--gold", gold, "--json", "--resamples", 100).stdout)
    assert (report["rows"], report["exact_match"]["a"], report["exact_match"]["b"]) == (1, 1, 0)


def test_files_of_other_questions(a: Path, tmp_path: Path) -> None:
    result = lmcot("compare", a, write(tmp_path / "other.jsonl", x1="fox"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: the two files have no id in common: do they answer the same questions?\n"


def test_a_torn_file_is_named(a: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.jsonl"
    torn.write_text('{"id": "q1"')
    result = lmcot("compare", a, torn)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {torn}:1: not valid JSON")
