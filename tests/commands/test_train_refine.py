"""`lmcot train refine`, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app

pytest.importorskip("torch")


def test_a_setting_that_cannot_work_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["train", "refine", "q.jsonl", "--from", str(tmp_path), "-o", str(tmp_path / "o"), "--clip", "0"],
    )
    assert result.exit_code == 2
    assert result.stderr.strip() == "error: --clip 0: give a number above 0"


def test_a_start_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"question": "Q", "context": "C", "answer": "A"}\n')
    result = CliRunner().invoke(
        app, ["train", "refine", str(questions), "--from", str(tmp_path / "x"), "-o", str(tmp_path / "o")]
    )
    assert result.exit_code == 1
    assert "is no run of lmcot" in result.stderr
    assert len(result.stderr.splitlines()) == 1
