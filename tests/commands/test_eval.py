"""`lmcot eval`, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app


def lmcot(*arguments: object, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def record(row_id: str, answer: str | None, *samples: str | None) -> dict[str, Any]:
    return {
        "id": row_id,
        "question": "Who?",
        "answer": answer,
        "samples": [{"rationale": "So.", "answer": sample} for sample in samples],
        "gold": ["fox"],
        "type": "bridge [b]",
        "error": None,
    }


RECORDS = [record("1", "fox", "fox", "hen"), record("2", "red fox", "red fox", "fox"), record("3", None)]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in RECORDS))
    return path


def test_table(answers: Path) -> None:
    result = lmcot("eval", answers, "--resamples", 100)
    assert (result.exit_code, result.stderr) == (0, "")
    shown = [line.split() for line in result.stdout.splitlines()]
    assert ["type", "rows", "EM", "F1", "inclusion", "no", "answer"] in shown
    rows = {line[0]: line for line in shown if line}
    assert rows["bridge"][1:4] == ["[b]", "3", "33.3"]
    assert rows["all"][1:3] == ["3", "33.3"]
    assert rows["all"][4] == "55.6"  # F1: (1 + 2/3 + 0) / 3
    assert rows["all"][6] == "66.7"
    assert rows["all"][-1] == "33.3"
    assert rows["1"][1] == "33.3"  # maj@1: the first sample
    assert [rows["2"][1], rows["2"][3]] == [
        "33.3",
        "66.7",
    ]  # maj@2: ties go to the first; pass@2: rows 1 and 2
    assert "run of whole words" in " ".join(result.stdout.split())


def test_json(answers: Path) -> None:
    result = lmcot("eval", answers, "--json", "--resamples", 100, "--seed", 7, "--rules", "musique")
    report = json.loads(result.stdout)
    assert (report["rules"], report["seed"], report["resamples"]) == ("musique", 7, 100)
    assert report["overall"]["rows"] == 3
    assert report["overall"]["f1"]["mean"] == pytest.approx(5 / 9)
    assert report["overall"]["unanswered"] == pytest.approx(1 / 3)
    assert list(report["by_type"]) == ["bridge [b]"]
    assert list(report["majority_at"]) == list(report["pass_at"]) == ["1", "2"]
    assert (
        lmcot("eval", answers, "--json", "--resamples", 100, "--seed", 7, "--rules", "musique").stdout
        == result.stdout
    )


def test_answers_from_stdin(answers: Path) -> None:
    result = lmcot("eval", "-", "--json", "--resamples", 10, stdin=answers.read_text())
    assert json.loads(result.stdout)["overall"]["rows"] == 3


def test_gold_file_pairs_by_id_and_reports_the_rest(answers: Path, tmp_path: Path) -> None:
    gold = tmp_path / "gold.json"
    rows = [("1", "hen"), ("2", "red fox"), ("4", "fox")]
    gold.write_text(
        json.dumps(
            [{"_id": n, "question": "Who?", "context": [], "answer": a, "type": "new"} for n, a in rows]
        )
    )
    result = lmcot("eval", answers, "--gold", gold, "--json", "--resamples", 10)
    report = json.loads(result.stdout)
    assert report["overall"]["exact_match"]["mean"] == pytest.approx(1 / 3)
    assert {kind: group["rows"] for kind, group in report["by_type"].items()} == {"new": 2 + 1}
    assert result.stderr.splitlines() == [
        "note: questions of the gold file without an answer, counted as wrong: 1 (4)",
        "note: answers without a question in the gold file, not scored: 1 (3)",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: it should hold JSON objects, one per line or in one array"),
        ('{"id": "1", "ans', "1: not valid JSON: unterminated string (column 13); write one object a line"),
        ('{"id": "1"}', '1: there is no "answer": give the file that `lmcot answer` wrote'),
        (
            '{"id": "1", "answer": "x"}',
            "no row has a gold answer: name the file that has them with --gold FILE",
        ),
    ],
)
def test_bad_file_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    result = lmcot("eval", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.replace(": ", ":", 1).removeprefix(f"error:{path}:").strip() == message


def test_stdin_serves_one_file_only() -> None:
    result = lmcot("eval", "-", "--gold", "-")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: only one of the files can be - (standard input)\n",
    )


def test_a_narrow_terminal_cuts_no_figure(answers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    assert "\u2026" not in lmcot("eval", answers).stdout
