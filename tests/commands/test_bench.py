"""`lmcot bench` as a user runs it, on the embedded models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lmcot_cli.bench import measure
from lmcot_cli.main import app

QUICK = (
    "--prompts", "1", "--prompt-tokens", "32", "-k", "2", "--new-tokens", "4", "--repeats", "1", "--threads", "1",
)  # fmt: skip


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments])


def rates(width: int, *runs: float) -> dict[str, Any]:
    return {"width": width, "runs": list(runs), "reading": 1.0, "peak_memory": None, "stated_memory": 1}


def test_two_models_give_one_table_and_the_settings_to_use() -> None:
    result = bench("builtin:small", "builtin:large", "--widths", "1,2", *QUICK)
    assert result.exit_code == 0, result.output
    assert "builtin:small: 3.8M parameters, Q8_0" in result.stdout
    assert "use --parallel " in result.stdout
    assert "fastest: builtin:" in result.stdout
    assert max(map(len, result.stdout.partition("tokens/s:")[0].splitlines()[4:])) <= 80
    assert "measuring builtin:large, width 2" in result.stderr


def test_json_is_all_that_is_on_stdout() -> None:
    result = bench("builtin:large", "--widths", "1,2", "--json", *QUICK)
    (model,) = json.loads(result.stdout)["models"]
    assert model["parameters"] == 5_115_136
    assert [one["width"] for one in model["widths"]] == [1, 2]
    assert model["recommended_width"] in (1, 2)
    for one in model["widths"]:
        assert one["stated_memory"] > 10_000_000
        assert one["peak_memory"] is None or one["peak_memory"] > 10_000_000


def test_ctrl_c_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def part(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["width"] == 2:
            raise KeyboardInterrupt
        return rates(1, 123.0)

    monkeypatch.setattr(measure, "run_part", part)
    result = bench("--widths", "1,2", *QUICK)
    assert result.exit_code == 130
    assert "123" in result.stdout


def test_repeats_that_differ_are_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {1: (100.0, 200.0), 2: (400.0, 401.0)}
    monkeypatch.setattr(measure, "run_part", lambda name, given: rates(given["width"], *runs[given["width"]]))
    shown = bench("--widths", "1,2", *QUICK).stdout
    assert "warning: the repeats of builtin:small at width 1 differ a lot (33%)" in shown
    assert "width 2 differ" not in shown
    assert "use --parallel 2 with builtin:small: 400 tokens/s" in shown


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    result = bench(str(tmp_path / "none.gguf"))
    assert result.exit_code == 1
    assert "no such model file" in result.stderr
    assert result.stdout == ""
