"""Inputs of which every row fails alike: one message, and nothing that a later run would have to clean up."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from lmcot_cli.backends.specs import open_model
from lmcot_cli.errors import FirstRowsFailError, InputError
from lmcot_cli.pipeline.alike import held_back
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Failure, Result

README = "# Title\n" + "Some words, and more.\n" * 40


@pytest.fixture
def options(tmp_path: Path) -> AnswerOptions:
    script = tmp_path / "script.jsonl"
    script.write_text('{"match": "", "text": "Lyon"}')
    return AnswerOptions(small=f"scripted:{script}", large=f"scripted:{script}")


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*given: object, **more: object) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.setattr("lmcot_cli.pipeline.answer.open_model", opened)
    assert open_model is not opened


def rows(count: int, **more: object) -> str:
    return "".join(
        json.dumps({"id": f"q{n}", "question": "Where?", "context": "c"} | more) + "\n" for n in range(count)
    )


def run(path: Path, options: AnswerOptions, out: Path | None = None, **more: bool) -> list[Result]:
    return list(AnswerRun(path, options, out, **more).results())


def stopped(path: Path, options: AnswerOptions, out: Path | None = None) -> str:
    with pytest.raises(FirstRowsFailError) as error:
        run(path, options, out)
    return str(error.value)


@pytest.mark.usefixtures("no_model")
def test_what_is_no_question_file_stops_before_a_model_is_opened(
    options: AnswerOptions, tmp_path: Path
) -> None:
    (readme := tmp_path / "README.md").write_text(README)
    out = tmp_path / "out.jsonl"
    said = stopped(readme, options, out)
    assert said.startswith(f"{readme}: the first 20 rows all fail alike; row 1: not valid JSON")
    assert f"is {readme} a question file? (nothing was written" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "script.jsonl"]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("count", [3, 40])
def test_rows_without_what_the_settings_need_stop_before_a_model_is_opened(
    options: AnswerOptions, tmp_path: Path, count: int
) -> None:
    (file := tmp_path / "q.jsonl").write_text(rows(count))
    choice, given = replace(options, answer_kind="choice"), replace(options, given_rationales=True)
    assert (
        f"the first {min(count, 20)} rows all fail alike; row 1: the row names no choices: give"
        in stopped(file, choice)
    )
    assert "row 1: the row has no rationale, and --given-rationales" in stopped(file, given)


def test_one_row_that_has_it_is_enough_to_go_on(options: AnswerOptions, tmp_path: Path) -> None:
    (file := tmp_path / "q.jsonl").write_text(
        rows(19) + rows(1, id="x", choices=["Lyon", "Nice"]) + rows(2, id=5)
    )
    results = run(file, replace(options, answer_kind="choice"))
    assert [result.error.type if result.error else None for result in results[18:20]] == [
        "missing_choices",
        None,
    ]
    assert all(not result.usage.small.prompt for result in results[:19])  # no rationale was written for these


def test_a_model_file_is_named(options: AnswerOptions, tmp_path: Path) -> None:
    (file := tmp_path / "model.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(range(256)) * 100)
    with pytest.raises(InputError, match=r"model\.gguf: is a model, not a file of JSON or CSV"):
        run(file, options)


def test_the_users_own_limit_is_taken_at_its_word(options: AnswerOptions, tmp_path: Path) -> None:
    (file := tmp_path / "README.md").write_text(README)
    assert len(run(file, replace(options, max_errors="99"))) == 41


def test_what_a_pipe_brings_is_not_waited_for_and_stops_too(options: AnswerOptions, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    long = rows(30) + rows(1, id="good")
    (tmp_path / "script.jsonl").write_text('{"match": "", "text": "Lyon"}')

    def results() -> list[Result]:
        failures = [
            Result(f"q{n}", "?", "cot", error=Failure("prompt_too_long", f"by {n}"), line=n)
            for n in range(1, 31)
        ]
        return list(held_back(iter(failures), "q.jsonl", hold=True))  # type: ignore[arg-type]

    with pytest.raises(
        FirstRowsFailError, match=r"q.jsonl: the first 20 rows all fail alike; row 1: by 1 \("
    ):
        results()
    assert len(list(AnswerRun(BytesIO(long.encode()), options, out).results())) == 31


@pytest.mark.parametrize("kind", ["row_failed", "reply_cut", "out_of_budget"])
def test_what_models_and_endpoints_do_to_rows_stops_nothing(kind: str) -> None:
    failures = [Result(f"q{n}", "?", "cot", error=Failure(kind, "no"), line=n) for n in range(30)]
    assert len(list(held_back(iter(failures), "q", hold=True))) == 30


def test_results_are_held_back_until_one_is_not_alike() -> None:
    def results() -> object:
        for n in range(5):
            yield Result(f"q{n}", "?", "cot", error=Failure("bad_row", "no"))
        yield Result("good", "?", "cot")
        raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        for one in held_back(results(), "q", hold=True):  # type: ignore[arg-type]
            seen.append(one.id)
    assert seen == ["q0", "q1", "q2", "q3", "q4", "good"]
    few = [Result(f"q{n}", "?", "cot", error=Failure("bad_row", "no")) for n in range(3)]
    assert [one.id for one in held_back(iter(few), "q", hold=True)] == ["q0", "q1", "q2"]


def test_a_resume_goes_on_as_the_first_run_would_have(options: AnswerOptions, tmp_path: Path) -> None:
    file, out = tmp_path / "q.jsonl", tmp_path / "out.jsonl"
    file.write_text(rows(1))
    run(file, options, out)
    file.write_text(rows(1) + "no JSON\n" * 30)
    assert len(run(file, options, out)) == 30
    assert len(out.read_bytes().splitlines()) == 31


def test_after_a_stop_the_mended_file_goes_to_the_same_output(options: AnswerOptions, tmp_path: Path) -> None:
    file, out = tmp_path / "q.jsonl", tmp_path / "out.jsonl"
    file.write_text(README)
    stopped(file, options, out)
    file.write_text(rows(3))
    assert len(run(file, options, out)) == 3
