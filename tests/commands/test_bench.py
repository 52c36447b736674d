"""`lmcot bench` as a user runs it, on the embedded model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lmcot_cli.bench import measure, random_model
from lmcot_cli.main import app

QUICK = (
    "--prompts", "1", "--prompt-tokens", "32", "-k", "2", "--new-tokens", "4", "--repeats", "1", "--threads", "1",
)  # fmt: skip


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments])


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
        if name == "engine":
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
    monkeypatch.setattr(measure, "run_part", lambda name, arguments: replies[name])
    shown = bench("--widths", "2", *QUICK).stdout
    assert "warning: the repeats of the high-level loop differ a lot (33%)" in shown
    assert "repeats of lmcot" not in shown
    assert "lmcot at width 2: 2.67 times the high-level loop" in shown


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    result = bench(str(tmp_path / "none.gguf"))
    assert result.exit_code == 1
    assert "no such model file" in result.stderr
    assert result.stdout == ""


def test_a_peer_that_is_not_there_is_told_before_anything_is_measured() -> None:
    result = bench("--peer-url", "http://127.0.0.1:9", *QUICK)
    assert result.exit_code == 1
    assert "no llama-server answers there" in result.stderr
    assert "measuring" not in result.stderr


def test_a_model_and_a_shape_are_one_too_many() -> None:
    result = bench("builtin:small", "--shape", "135m")
    assert result.exit_code == 2
    assert "not both" in result.stderr


def test_a_shape_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(random_model, "find_spec", lambda name: None)
    result = bench("--shape", "135m")
    assert result.exit_code == 3
    assert "pip install 'lmcot[export]'" in result.stderr
