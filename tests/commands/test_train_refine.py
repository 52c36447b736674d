"""`lmcot train refine`, from the command line."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.commands.train_refine import DEFAULTS
from lmcot_cli.main import app, load_command

pytest.importorskip("torch")


def test_the_defaults_that_help_shows_are_those_of_the_dataclasses() -> None:
    from lmcot_train.refine.options import RefineOptions

    options = RefineOptions(Path("q"), Path("s"), Path("o"))
    true = {**asdict(options), **asdict(options.ppo), **asdict(options.reward)}
    assert {name: true[name] for name in DEFAULTS} == DEFAULTS


def test_a_setting_that_cannot_work_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["train", "refine", "q.jsonl", "--from", str(tmp_path), "-o", str(tmp_path / "o"), "--clip", "0"],
    )
    assert result.exit_code == 2
    assert result.stderr.strip() == "error: --clip 0: give more than 0"


def test_settings_are_named_by_their_options() -> None:
    from lmcot_train.ppo.options import PPOOptions, option_of

    refine = load_command("train").commands["refine"]
    options = {parameter.name: parameter.opts[0] for parameter in refine.params}
    named = {field.name: option_of(field.name) for field in fields(PPOOptions)}
    assert named == {name: options.get(name, name) for name in named}


def test_a_start_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"question": "Q", "context": "C", "answer": "A"}\n')
    result = CliRunner().invoke(
        app, ["train", "refine", str(questions), "--from", str(tmp_path / "x"), "-o", str(tmp_path / "o")]
    )
    assert result.exit_code == 1
    assert "is no run of lmcot" in result.stderr
    assert len(result.stderr.splitlines()) == 1
