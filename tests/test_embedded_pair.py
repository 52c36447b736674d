"""The embedded pair through the whole pipeline: what a newcomer sees first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.main import app
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions, Method
from lmcot_cli.pipeline.result import Result
from lmcot_cli.scoring.metrics import exact_match

REAL_FILES = Path(__file__).parents[2] / "shared" / "data"
ROWS = 64
ONE_THREAD = EngineOptions(threads=1, parallel=16)


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions of a seed that no figure was measured on."""
    path = tmp_path_factory.mktemp("microhop") / "questions.jsonl"
    lines = [json.dumps(record) for record in records(MicroHopOptions(rows=ROWS, seed=77))]
    path.write_text("\n".join(lines))
    return path


def _answer(questions: Path, method: Method, **options: object) -> list[Result]:
    settings = AnswerOptions(method=method, engine=ONE_THREAD, **options)  # type: ignore[arg-type]
    return list(AnswerRun(questions, settings).results())


def _right(results: list[Result]) -> int:
    return sum(exact_match(result.answer, result.gold) for result in results)


def test_a_rationale_of_the_small_lm_makes_the_large_one_answer_better(questions: Path) -> None:
    standard, guided = _answer(questions, "standard"), _answer(questions, "guided")
    assert _right(guided) >= _right(standard) + 0.2 * ROWS


def test_the_large_lm_answers_from_a_right_rationale(questions: Path) -> None:
    assert _right(_answer(questions, "guided", given_rationales=True)) >= 0.85 * ROWS


def test_deterministic_runs_write_the_same_bytes(questions: Path, tmp_path: Path) -> None:
    command = [
        "answer",
        str(questions),
        "--samples",
        "3",
        "--deterministic",
        "--limit",
        "8",
        "--threads",
        "1",
        "-o",
    ]
    for name in ("one.jsonl", "two.jsonl"):
        result = CliRunner().invoke(app, [*command, str(tmp_path / name)])
        assert result.exit_code == 0, result.stderr
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


@pytest.mark.skipif(not REAL_FILES.is_dir(), reason="the real data files are not here")
@pytest.mark.parametrize("file", sorted(REAL_FILES.glob("*.json")), ids=lambda path: path.stem)
def test_real_rows_get_an_answer_or_an_error_that_says_why(file: Path) -> None:
    results = _answer(file, "guided", limit=6)
    assert len(results) == 6
    for result in results:
        if result.error:
            assert result.error.type == "prompt_too_long"
        else:
            assert result.samples
