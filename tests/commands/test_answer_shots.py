"""`lmcot answer` with examples and system messages, from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with three questions, a script, and four rows to make examples of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    # Examples hold "Where is s0?": were they looked at, every row would be answered by the first line.
    (tmp_path / "script.jsonl").write_text(
        '{"match": "Where is s0?", "text": "s0"}\n{"match": "", "text": "Lyon"}\n'
    )
    write(tmp_path / "q.jsonl", *(f"q{i}" for i in range(3)))
    write(tmp_path / "shots.jsonl", *(f"s{i}" for i in range(4)))
    return tmp_path


def write(path: Path, *ids: str) -> None:
    rows = [
        {
            "id": one,
            "question": f"Where is {one}?",
            "context": "Here.",
            "answer": "Here",
            "rationale": "It is.",
        }
        for one in ids
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def invoke(*words: str) -> Any:
    models = ["--small", "scripted:script.jsonl", "--large", "scripted:script.jsonl"]
    return CliRunner().invoke(app, ["answer", "q.jsonl", *models, *words], env={"COLUMNS": "200"})


def answered(*words: str) -> list[dict[str, Any]]:
    result = invoke(*words)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


SHOTS = ("--shots", "2", "--shots-from", "shots.jsonl")


@pytest.mark.parametrize("method", ["standard", "cot", "guided"])
@pytest.mark.parametrize("by", ["first", "bm25"])
def test_every_method_takes_examples_and_counts_their_tokens(method: str, by: str):
    plain = answered("--method", method)
    with_shots = answered("--method", method, *SHOTS, "--shots-by", by)
    roles = ("small", "large") if method == "guided" else ("large",)
    for one, other in zip(plain, with_shots, strict=True):
        assert one["samples"] == other["samples"]
        for role in roles:
            assert other["usage"][role]["prompt"] > 2 * one["usage"][role]["prompt"]


@pytest.mark.parametrize("method", ["standard", "cot", "guided"])
def test_a_reply_that_begins_another_example_is_no_answer(work: Path, method: str):
    begun = "\n\nAnswer the question from the context.\n\nContext:\nRome: In Italy."
    (work / "script.jsonl").write_text(json.dumps({"match": "", "text": begun}))
    for record in answered("--method", method, *SHOTS):
        assert record["answer"] is None
        assert record["samples"][0]["rationale"] in (None, "")


def test_rows_that_are_examples_themselves(work: Path):
    write(work / "q.jsonl", "s0", "s1")
    assert len(answered("--shots", "3", "--shots-from", "shots.jsonl", "--method", "standard")) == 2
    result = invoke("--shots", "4", "--shots-from", "shots.jsonl", "--method", "standard")
    assert result.exit_code == 1
    errors = [json.loads(line)["error"] for line in result.stdout.splitlines()]
    assert [error["type"] for error in errors] == ["too_few_shots"] * 2
    assert errors[0]["message"].startswith("--shots 4: without this row itself shots.jsonl holds only 3;")


def test_the_run_file_names_examples_and_system_messages(work: Path):
    (work / "brief.txt").write_text("Be brief.\n")
    answered(*SHOTS, "--small-system", "brief.txt", "--large-system", "Say it.", "-o", "out")
    settings = json.loads((work / "out.run.json").read_text())["settings"]
    assert (settings["shots"], settings["shots_by"]) == (2, "first")
    assert settings["shots_digest"].startswith("sha256:")
    assert (settings["small_system"], settings["large_system"]) == ("Be brief.", "Say it.")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--shots", "1", "--shots-from", "shots.jsonl"), "shots 2 -> 1"),
        ((*SHOTS, "--shots-by", "bm25"), "shots_by first -> bm25"),
        (("--shots", "2", "--shots-from", "q.jsonl"), "shots_digest sha256:"),
        ((), "shots 2 -> 0"),
        ((*SHOTS, "--large-system", "Be\nbrief."), "large_system null -> Be brief."),
    ],
)
def test_a_resume_with_another_start_of_the_conversation_is_refused(change: tuple[str, ...], named: str):
    assert invoke(*SHOTS, "-o", "out", "--limit", "1").exit_code == 0
    result = invoke(*change, "-o", "out")
    assert result.exit_code == 1
    assert named in result.stderr
    assert result.stderr.count("\n") == 1
    assert invoke(*SHOTS, "-o", "out").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("--shots", "2"), 2, "error: --shots 2 needs --shots-from FILE"),
        (("--shots-from", "shots.jsonl"), 2, "error: --shots-from shots.jsonl needs --shots N"),
        (("--shots", "-1", "--shots-from", "shots.jsonl"), 2, "error: --shots -1: give the number"),
        (
            ("--shots", "9", "--shots-from", "shots.jsonl"),
            1,
            "error: --shots-from shots.jsonl: 4 of its 4 rows",
        ),
        (
            ("--shots", "1", "--shots-from", "none"),
            1,
            "error: --shots-from none: cannot be read: No such file",
        ),
        (("--shots", "1", "--shots-from", "."), 1, "error: --shots-from .: is a folder"),
        (("--small-system", "none.txt"), 2, "error: --small-system none.txt: there is no such file"),
        (
            ("--large-system", "script.jsonl", "--small-system", "."),
            1,
            "error: --small-system .: cannot be read",
        ),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_wrong_value_is_one_line_that_names_the_option(
    words: tuple[str, ...], code: int, error: str, dry: tuple[str, ...]
):
    result = invoke(*words, *dry)
    assert result.exit_code == code
    assert result.stderr.startswith(error)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_the_settings_file_has_examples_which_a_flag_switches_off(work: Path, tmp_path: Path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (work / "shots.jsonl").rename(folder / "shots.jsonl")
    (folder / "be brief").write_text("Be brief.")
    config = folder / "lmcot.toml"
    config.write_text('[answer]\nshots = 2\nshots_from = "shots.jsonl"\nlarge_system = "be brief"\n')

    def settings(*words: str) -> dict[str, Any]:
        answered("--config", str(config), "-o", "out", "--overwrite", *words)
        found: dict[str, Any] = json.loads((work / "out.run.json").read_text())["settings"]
        return found

    assert (settings()["shots"], settings()["large_system"]) == (2, "Be brief.")
    off = settings("--shots", "0", "--large-system", "")
    assert (off["shots"], off["shots_digest"], off["large_system"]) == (0, None, None)


def test_a_dry_run_shows_the_whole_conversation_and_counts_it():
    def prompt_tokens(*words: str) -> int:
        lines = invoke("--method", "standard", "--dry-run", *words).stdout.splitlines()
        [row] = [line.split() for line in lines if line.startswith("standard ")]
        return int(row[3].replace(",", ""))

    shown = invoke("--method", "standard", "--dry-run", *SHOTS, "--large-system", "Be brief.").stdout
    headings = [line for line in shown.splitlines() if line.endswith(":") and line[0].islower()]
    assert headings == [
        "system message:",
        "example 1 of 2:",
        "its reply:",
        "example 2 of 2:",
        "its reply:",
        "prompt:",
    ]
    assert "Be brief." in shown
    assert shown.index("Where is s0?") < shown.index("Where is s1?") < shown.index("Where is q0?")
    assert prompt_tokens(*SHOTS) > 2 * prompt_tokens()
    assert prompt_tokens("--large-system", "brief " * 400) >= prompt_tokens() + 3 * 2399 // 4
    assert "prompt:" not in invoke("--method", "standard", "--dry-run").stdout.splitlines()
