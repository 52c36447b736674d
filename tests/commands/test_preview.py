"""`lmcot answer --dry-run`, from the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app

SCRIPT = '{"match": "Where is 1?", "text": "Lyon"}\n{"match": "", "text": "Nice"}\n'
NO_KEY = "note: OPENAI_API_KEY is not set"
NO_PRICE = "note: no price for openai:gpt-4o-mini: write [prices] in lmcot.toml"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with four questions, no settings, no key and no downloaded model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    rows = [{"id": f"q{i}", "question": f"Where is {i}?", "context": "Here."} for i in range(4)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "script.jsonl").write_text(SCRIPT)
    return tmp_path


def shown(*words: str, method: str = "standard", large: str = "scripted:script.jsonl") -> list[str]:
    result = CliRunner().invoke(
        app, ["answer", "q.jsonl", "--dry-run", "--method", method, "--large", large, *words]
    )
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def test_it_says_what_a_run_would_download_and_what_it_lacks():
    lines = shown("--small", "smollm2-360m", method="guided", large="openai:gpt-4o-mini")

    assert [line for line in lines if line.startswith("note")] == [
        "note: the run downloads bartowski/SmolLM2-360M-Instruct-GGUF from huggingface.co without a token",
        "note: the run asks api.openai.com without a key",
        "note: smollm2-360m: will be downloaded (270.6 MB)",
        NO_KEY,
        NO_PRICE,
    ]
    assert any(line.split()[:2] == ["guided_answer", "openai:gpt-4o-mini"] for line in lines)


def test_what_is_there_needs_no_note(work: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert NO_KEY not in shown(large="openai:gpt-4o-mini")
    (work / "mine.toml").write_text('[prices]\n"openai:gpt-4o-mini" = { prompt = 0.1, completion = 0.6 }\n')
    notes = [
        line for line in shown("--config", "mine.toml", large="openai:gpt-4o-mini") if line.startswith("note")
    ]
    assert notes == [
        "note: the run uses the settings of mine.toml",
        "note: the run asks api.openai.com with the key of OPENAI_API_KEY",
    ]
    monkeypatch.delenv("OPENAI_API_KEY")
    assert not any(line.startswith("note") for line in shown(large="http://127.0.0.1:8080/v1#m"))


def test_a_long_name_of_a_model_goes_on_below_and_is_not_cut(work: Path):
    folder = work / "a-folder-whose-name-is-so-long-that-no-table-of-eighty-columns-has-room-for-it"
    folder.mkdir()
    (folder / "script.jsonl").write_text(SCRIPT)

    name = f"scripted:{folder.name}/script.jsonl"
    lines = shown(large=name)
    row = next(number for number, line in enumerate(lines) if line.startswith("standard  "))
    parts = [lines[row].split()[1], *(line.strip() for line in lines[row + 1 :])]

    assert "".join(parts).startswith(name)
    assert all(len(line) <= 80 for line in lines[row:])


def test_rows_that_the_output_holds_are_not_counted_again():
    run = ["answer", "q.jsonl", "--method", "standard", "--large", "scripted:script.jsonl", "-o", "out"]
    assert "4 rows. No model was asked." in shown()
    assert CliRunner().invoke(app, [*run, "--limit", "3"]).exit_code == 0
    assert "1 row left, 3 already done. No model was asked." in shown("-o", "out")
    assert "4 rows. No model was asked." in shown("-o", "out", "--overwrite")
    assert CliRunner().invoke(app, run).exit_code == 0
    assert shown("-o", "out")[0] == "0 rows left, 4 already done. No model was asked."


def test_a_retry_asks_what_failed(work: Path):
    records = [{"id": f"q{i}", "error": {"type": "x"} if i == 2 else None} for i in range(4)]
    (work / "out").write_text("".join(json.dumps(record) + "\n" for record in records))

    assert "1 row left, 3 already done. No model was asked." in shown("-o", "out", "--retry-errors")


def test_a_file_that_is_no_output_is_one_line(work: Path):
    (work / "deep").write_text("[" * 100_000 + "\n")
    deep = CliRunner().invoke(app, ["answer", "q.jsonl", "--dry-run", "-o", "deep", "--retry-errors"])
    assert (deep.exit_code, deep.stderr) == (1, "error: deep: is not an output of lmcot: choose another -o\n")

    result = CliRunner().invoke(
        app, ["answer", "q.jsonl", "--dry-run", "-o", "script.jsonl", "--retry-errors"]
    )

    assert result.exit_code == 1
    assert result.stderr == "error: script.jsonl: is not an output of lmcot: choose another -o\n"
