"""`python -m tools.bench` on the embedded model."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tools.bench import measure, random_model
from tools.bench.__main__ import app, main

QUICK = (
    "--prompts", "1", "--prompt-tokens", "32", "-k", "2", "--new-tokens", "4", "--repeats", "1", "--threads", "1",
)  # fmt: skip


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_one_run_gives_the_table_and_a_picture(tmp_path: Path) -> None:
    result = bench("--widths", "2", "--profile", "--plot", str(tmp_path / "p.png"), *QUICK)
    assert result.exit_code == 0, result.output
    assert "high level" in result.stdout
    assert "prefill" in result.stdout
    assert "outside decode at width 2: sampling" in result.stdout
    assert "times the high-level loop" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines() if "lmcot  " in line or "high" in line) <= 80
    assert "…" not in result.stdout
    assert "measuring llama-cpp-python, one sample after another (1 of 2)" in result.stderr
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_json_is_all_that_is_on_stdout() -> None:
    result = bench("builtin:large", "--widths", "1,2", "--json", *QUICK)
    found = json.loads(result.stdout)
    assert [one["width"] for one in found["engine"]] == [1, 2]
    assert found["engine"][0]["completion_tokens"] == 8
    assert found["high_level"]["tokens_per_s"] > 0
    assert found["model"]["parameters"] == 5_115_136
    assert found["engine"][0]["stated_memory"] > 10_000_000
    assert found["engine"][0]["peak_memory"] is None or found["engine"][0]["peak_memory"] > 10_000_000


def test_ctrl_c_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def part(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if "engine" in name:
            raise KeyboardInterrupt
        return {"runs": [123.0], "completion_tokens": 8, "peak_memory": None}

    monkeypatch.setattr(measure, "run_part", part)
    result = bench("--widths", "2", *QUICK)
    assert result.exit_code == 130
    assert "123" in result.stdout


def test_repeats_that_differ_are_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    replies = {
        "high_level": {"runs": [100.0, 200.0], "completion_tokens": 8, "peak_memory": None},
        "engine": {
            "width": 2, "runs": [400.0, 401.0], "limit_runs": [500.0, 500.0], "outside_decode_runs": [0.2, 0.2],
            "completion_tokens": 8, "decoded": {}, "parts": None, "bare_prefill": 1.0, "bare_decode": 1.0,
            "peak_memory": 1, "stated_memory": 1,
        },
    }  # fmt: skip
    monkeypatch.setattr(measure, "run_part", lambda name, arguments: replies[name.rpartition("measure_")[2]])
    shown = bench("--widths", "2", *QUICK).stdout
    assert "warning: the repeats of the high-level loop differ a lot (33%)" in shown
    assert "repeats of lmcot" not in shown
    assert "lmcot at width 2: 2.67 times the high-level loop" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--peer-url", "http://127.0.0.1:9", *QUICK), 1, "no llama-server answers there"),
        (("builtin:small", "--shape", "135m"), 2, "not both"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_before_anything_is_measured(
    arguments: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "measuring" not in shown


def test_a_shape_without_the_extra_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(random_model, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["--shape", "135m"])
    assert ended.value.code == 3
    assert "pip install 'lmcot[export]'" in capsys.readouterr().err


def test_the_commands_of_the_document_parse() -> None:
    text = (Path(__file__).parents[3] / "examples" / "bench.md").read_text(encoding="utf-8")
    commands = re.findall(r"python -m tools\.bench ([^`\n]+)", text)
    assert len(commands) > 5
    command = typer.main.get_command(app)
    for words in commands:
        command.make_context("bench", shlex.split(words, comments=True))
