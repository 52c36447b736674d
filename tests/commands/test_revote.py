import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app


def stored(path: Path) -> Path:
    records = [
        {"id": str(i), "question": "?", "answer": "Lyon", "gold": ["Lyon"], "error": None,
         "samples": [{"answer": text, "logprob": -0.5} for text in texts]}
        for i, texts in enumerate((["Lyon"] * 8, ["Nice", "Lyon"] * 4))
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def test_a_table_shows_what_each_rule_saves(tmp_path: Path):
    result = CliRunner().invoke(app, ["revote", str(stored(tmp_path / "s.jsonl"))], terminal_width=120)

    assert result.exit_code == 0
    rules = {line.split()[0]: line.split()[1:3] for line in result.stdout.splitlines() if line.strip()}
    assert rules["none"] == ["8.0", "1.0"]
    # Eight that agree are decided after four; 4 : 3 with one to come is decided, as the leader was first.
    assert rules["lossless"] == ["5.5", "1.5"]
    assert {"beta:0.95", "window:5"} < rules.keys()


def test_a_narrow_terminal_holds_every_rule_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")

    shown = CliRunner().invoke(app, ["revote", str(stored(tmp_path / "s.jsonl"))]).stdout.splitlines()

    assert shown[0].split() == ["--stop", "samples", "fewer", "EM", "change", "changed"]
    # `none` draws all samples: there is nothing to compare them with.
    assert re.fullmatch(r"none +8\.0 +1\.0 +\S+ \(\S+ to \S+\) *", shown[1])
    assert [line.split()[0] for line in shown[2:5]] == ["lossless", "beta:0.95", "window:5"]
    assert re.fullmatch(r"lossless .*\(\S+ to \S+\) +\S+ \(\S+ to \S+\) +0", shown[2])


def test_json_has_the_same_figures(tmp_path: Path):
    arguments = [
        "revote",
        str(stored(tmp_path / "s.jsonl")),
        "--stop",
        "lossless",
        "--vote",
        "logprob",
        "--json",
    ]
    report = json.loads(CliRunner().invoke(app, arguments).stdout)

    assert report["vote"] == "logprob"
    assert [rule["stop"] for rule in report["rules"]] == ["lossless"]
    assert report["rules"][0]["other_winners"] == 0


def test_questions_are_no_results(tmp_path: Path):
    (tmp_path / "q.jsonl").write_text('{"question": "?", "context": "c"}')
    result = CliRunner().invoke(app, ["revote", str(tmp_path / "q.jsonl")])

    assert result.exit_code == 1
    assert "this is a question, not an answer" in result.stderr
