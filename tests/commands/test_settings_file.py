"""The question about a settings file that nobody has confirmed, asked on a real terminal, and what is told of hosts."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(str(ROOT / folder) for folder in ("", "train", "export"))


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    for kind in ("config", "state", "cache"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / kind))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    work = tmp_path / "work"
    (work / "q.jsonl").write_text('{"question": "Where?", "context": "Here."}\n')
    (work / "script.jsonl").write_text('{"match": "", "text": "Lyon"}\n')
    (work / "mine" / "standard.j2").write_text("Mine: {{ row.question }}")
    text = '[answer]\nmethod = "standard"\nlarge = "scripted:script.jsonl"\nprompts = "mine"\n'
    (work / "lmcot.toml").write_text(text)
    return work


def on_terminal(typed: str, *words: str) -> tuple[int, str, str]:
    """Run lmcot with a terminal for stdin and stderr; return its exit code, stdout, and what the terminal shows."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "lmcot_cli", *words]
    variables = os.environ | {"PYTHONPATH": PATHS}
    running = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=variables)
    os.close(theirs)
    os.write(ours, typed.encode())
    stdout = running.communicate(timeout=120)[0].decode()
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so where nobody has the terminal open any more
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return running.returncode, stdout, shown.decode()


def test_a_person_is_asked_once(work: Path) -> None:
    code, stdout, shown = on_terminal("y\n", "answer", "q.jsonl")
    assert code == 0, shown
    assert f"{work / 'lmcot.toml'} was found here and is not confirmed. It would:" in shown
    assert "- take prompts from 'mine'" in shown
    assert stdout.startswith('{"id"')
    assert json.loads(stdout)["answer"] == "Lyon"

    code, stdout, shown = on_terminal("", "answer", "q.jsonl")
    assert (code, json.loads(stdout)["answer"]) == (0, "Lyon")
    assert "not confirmed" not in shown
    assert CliRunner().invoke(app, ["answer", "q.jsonl"]).exit_code == 0


def test_a_person_who_says_no_is_told_how_to_go_without(work: Path) -> None:
    code, stdout, shown = on_terminal("n\n", "answer", "q.jsonl")
    assert (code, stdout) == (1, "")
    assert "--config /dev/null ignores it" in shown
    assert not list((work.parent / "state").rglob("*.json"))


def test_a_pipe_is_not_asked(work: Path) -> None:
    result = CliRunner().invoke(app, ["answer", "q.jsonl"], input="y\n")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "error: lmcot.toml: was found here and is not confirmed; it would load the model 'scripted:script.jsonl'; take"
    )


@pytest.mark.parametrize(
    ("line", "reached"),
    [
        ('large = "./model.gguf"', "load the model './model.gguf'"),
        ('small = "../run"', "load the model '../run'"),
        ('small_adapter = ["a.gguf"]', "load the adapter 'a.gguf'"),
        ('large = "builtin:small"', None),
        ('small = "smollm2-135m"', None),
    ],
)
def test_a_model_that_is_no_known_one_is_asked_about(work: Path, line: str, reached: str | None) -> None:
    (work / "lmcot.toml").write_text(f"[answer]\n{line}\n")
    result = CliRunner().invoke(app, ["answer", "q.jsonl", "--dry-run", "--method", "standard"])
    refused = f"is not confirmed; it would {reached}. If you trust it" in result.stderr
    assert refused is (reached is not None), result.stderr


def test_a_dry_run_is_refused_alike_and_tells_of_hosts(work: Path) -> None:
    assert CliRunner().invoke(app, ["answer", "q.jsonl", "--dry-run"]).exit_code == 1
    words = [
        "answer",
        "q.jsonl",
        "--dry-run",
        "--config",
        "lmcot.toml",
        "--large",
        "https://a.example:8443/v1#m",
    ]
    result = CliRunner().invoke(app, words)
    assert "note: the run uses the settings of lmcot.toml\n" in result.stdout
    assert "note: the run asks a.example:8443 with the key of OPENAI_API_KEY\n" in result.stdout


def test_it_is_said_which_file_is_in_use_and_what_it_chooses(work: Path) -> None:
    result = CliRunner().invoke(app, ["answer", "q.jsonl", "--config", "lmcot.toml"])
    assert result.stderr.splitlines()[0] == (
        "uses the settings of lmcot.toml: large is scripted:script.jsonl"
    )
    assert [json.loads(line)["answer"] for line in result.stdout.splitlines()] == ["Lyon"]
    assert CliRunner().invoke(app, ["answer", "q.jsonl", "--config", "lmcot.toml", "--quiet"]).stderr == ""


def test_doctor_tells_of_a_file_that_is_not_confirmed_and_of_the_keys_of_hosts(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = work.parent / "config" / "lmcot" / "lmcot.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[keys]\n"a.example" = { env = "A_KEY" }\n')
    monkeypatch.setenv("A_KEY", "sk-own")
    result = CliRunner().invoke(app, ["doctor"])
    assert (
        f"{work / 'lmcot.toml'} is not confirmed and therefore not used; it would load the model"
        in result.stdout
    )
    assert "OPENAI_API_KEY set, HF_TOKEN not set, A_KEY set" in result.stdout
    assert "sk-" not in result.stdout
    report = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert (report["config_reach"], report["config_used"]) == (
        ["load the model 'scripted:script.jsonl'", "take prompts from 'mine'"],
        False,
    )

    (work / "lmcot.toml").unlink()
    own.write_text('[models]\nmine = "https://a.example/v1#m"\n[keys]\n"a.example" = { env = "A_KEY" }\n')
    result = CliRunner().invoke(app, ["doctor"])
    assert f"{own}; it may send questions to a.example (with the key of A_KEY)\n" in result.stdout
