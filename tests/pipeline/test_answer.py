import json
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.errors import InputError, ModelError, OutputError, UsageError
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Result
from lmcot_cli.prompts.options import PromptOptions

SCRIPT = """\
{"match": "lead to the answer", "text": ["R1", "R2", "R3"]}
{"match": "Rationale: R1", "text": "Lyon."}
{"match": "Rationale:", "text": "Nice."}
{"match": "", "text": ["Lyon", "Nice", "Paris"]}
"""


@pytest.fixture
def options(tmp_path: Path) -> AnswerOptions:
    script = tmp_path / "script.jsonl"
    script.write_text(SCRIPT)
    return AnswerOptions(small=f"scripted:{script}", large=f"scripted:{script}")


def questions(count: int) -> bytes:
    rows = [
        {"id": f"q{i}", "question": f"Where is {i}?", "context": "Here.", "answer": "Lyon"}
        for i in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def answer(source: bytes, options: AnswerOptions, output: Path | None = None, **more: bool) -> list[Result]:
    return list(AnswerRun(BytesIO(source), options, output, **more).results())


def ids(path: Path) -> Sequence[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def test_results_come_in_input_order_with_their_vote(options: AnswerOptions):
    results = answer(questions(100), replace(options, samples=3, stop="none"))

    assert [result.id for result in results] == [f"q{i}" for i in range(100)]
    assert all(sum(result.votes.values()) == 3 for result in results)
    assert all(
        result.votes[result.answer] == round(result.agreement * 3) for result in results if result.answer
    )
    assert {result.gold for result in results} == {("Lyon",)}


@pytest.mark.parametrize("method", ["standard", "cot", "guided"])
def test_a_rows_result_depends_on_neither_its_place_nor_what_is_under_way(
    options: AnswerOptions, method: str
):
    options = replace(options, method=method, samples=3, stop="none")
    lines = questions(40).splitlines(keepends=True)
    forwards = answer(b"".join(lines), options)
    backwards = answer(b"".join(reversed(lines)), replace(options, deterministic=True))

    assert {r.id: r.samples for r in forwards} == {r.id: r.samples for r in backwards}
    assert len({tuple(r.samples) for r in forwards}) > 10


def test_bad_rows_stand_in_their_place_and_the_others_are_answered(options: AnswerOptions):
    lines = questions(3).splitlines(keepends=True)
    source = b"".join(
        [lines[0], b"{torn\n", lines[1], lines[0], b'{"id": "x"}\n', b"\xff\n", b"[1]\n", lines[2]]
    )
    run = AnswerRun(BytesIO(source), options)
    results = list(run.results())

    assert [r.id for r in results] == ["q0", "2", "q1", "q0", "x", "6", "7", "q2"]
    errors = [r.error.type if r.error else None for r in results]
    assert errors == [None, "bad_row", None, "duplicate_id", "bad_row", "bad_row", "bad_row", None]
    assert (run.session.totals.rows, run.session.totals.failed, run.session.totals.answered) == (8, 5, 3)


def test_limit_counts_rows(options: AnswerOptions):
    assert [r.id for r in answer(questions(9), replace(options, limit=2))] == ["q0", "q1"]


def test_deterministic_finishes_a_row_before_the_next_begins(options: AnswerOptions, tmp_path: Path):
    (tmp_path / "two.jsonl").write_text('"Lyon"\n"Nice"\n')
    options = replace(options, method="standard", large=f"scripted:{tmp_path / 'two.jsonl'}")
    done: dict[bool, int] = {}
    for deterministic in (False, True):
        run = AnswerRun(BytesIO(questions(3)), replace(options, deterministic=deterministic))
        with pytest.raises(ModelError, match="no reply is left"):
            list(run.results())
        done[deterministic] = run.session.totals.rows

    assert done == {False: 1, True: 2}  # the first row is alone in any case, the others are one batch


def test_lossless_gives_the_answers_of_all_samples_with_fewer(options: AnswerOptions):
    everything = answer(questions(60), replace(options, samples=9, stop="none"))
    enough = answer(questions(60), replace(options, samples=9))

    assert [r.answer for r in enough] == [r.answer for r in everything]
    assert all(len(r.samples) + (r.samples_saved or 0) == 9 for r in enough)
    assert sum(len(r.samples) for r in enough) < sum(len(r.samples) for r in everything)
    assert all(
        short.samples == full.samples[: len(short.samples)]
        for short, full in zip(enough, everything, strict=True)
    )


def test_a_vote_by_logprob_needs_logprobs(options: AnswerOptions):
    with pytest.raises(ModelError, match="--vote majority"):
        answer(questions(1), replace(options, samples=3, vote="logprob"))


def test_rows_that_begin_after_the_tokens_are_spent_fail_and_say_so(options: AnswerOptions):
    run = AnswerRun(BytesIO(questions(400)), replace(options, max_tokens_total=3000))
    results = list(run.results())

    late = [r for r in results if r.error]
    assert [r.id for r in results] == [f"q{i}" for i in range(400)]
    assert {r.error.type for r in late if r.error} == {"out_of_budget"}
    assert 0 < len(late) < 400
    assert results[-1].error is not None
    assert "--max-tokens-total" in results[-1].error.message


def test_a_short_budget_cuts_votes_before_rows(options: AnswerOptions, tmp_path: Path):
    questions_file = tmp_path / "questions.jsonl"
    questions_file.write_bytes(questions(300))
    plenty = list(AnswerRun(questions_file, replace(options, samples=15)).results())
    spent = sum(r.usage.small.prompt + r.usage.small.completion + r.usage.large.prompt
                + r.usage.large.completion for r in plenty)  # fmt: skip
    run = AnswerRun(questions_file, replace(options, samples=15, max_tokens_total=int(spent * 0.9)))
    results = list(run.results())
    cut = [r for r in results if r.cut_short]

    assert all(r.error is None for r in results)
    assert {r.cut_short for r in cut} == {"max_tokens_total"}
    assert 0 < len(cut) < len(results) / 2
    assert all(r.answer is not None for r in cut)


def test_a_budget_draws_windows_of_the_same_size(options: AnswerOptions, tmp_path: Path):
    (tmp_path / "one.jsonl").write_text('{"match": "", "text": "Lyon"}')
    options = replace(options, method="standard", large=f"scripted:{tmp_path / 'one.jsonl'}", samples=20)
    results = answer(questions(3), replace(options, stop="window:5", max_tokens_total=10**6))

    assert [len(result.samples) for result in results] == [5] * 3


def test_a_model_that_is_not_asked_is_not_opened(options: AnswerOptions):
    nowhere = replace(options, small="scripted:/nowhere")

    assert answer(questions(1), replace(nowhere, method="cot"))[0].error is None
    source = b'{"question": "?", "context": "c", "rationale": "R1"}\n{"question": "?", "context": "c"}'
    with_one, without = answer(source, replace(nowhere, given_rationales=True))
    assert with_one.answer == "Lyon"
    assert without.error is not None
    assert without.error.type == "missing_rationale"
    with pytest.raises(ModelError, match="/nowhere"):
        answer(questions(1), nowhere)


def test_an_interrupted_run_goes_on_to_the_same_bytes(options: AnswerOptions, tmp_path: Path):
    options = replace(options, samples=2)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    answer(questions(70), options, whole)
    for stop in (1, 30, 5):
        run = AnswerRun(BytesIO(questions(70)), options, parts)
        results = run.results()
        for _ in range(stop):
            next(results)
        results.close()
    assert run.session.resumed == 31
    answer(questions(70), options, parts)

    assert parts.read_bytes() == whole.read_bytes()


def test_a_finished_output_is_not_answered_again_and_a_longer_input_goes_on(
    options: AnswerOptions, tmp_path: Path
):
    out = tmp_path / "out"
    answer(questions(3), options, out)

    assert answer(questions(3), options, out) == []
    assert [r.id for r in answer(questions(5), options, out)] == ["q3", "q4"]
    assert ids(out) == ["q0", "q1", "q2", "q3", "q4"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            questions(1),
            r"out:2: holds the result of row 'q1', but the input, or its --limit, ends with row 1",
        ),
        (questions(5).replace(b'"q1"', b'"p1"'), r"out:2: .*'q1', but the input has row 'p1' there"),
        (questions(5).replace(b"Where is 1", b"Who is 1"), r"out:2: .*'q1', whose question differs"),
        (questions(5).replace(b'"Here."', b'"There."'), r"out:1: .*'q0', whose context, rationale or"),
    ],
)
def test_another_input_is_refused(options: AnswerOptions, tmp_path: Path, source: bytes, message: str):
    out = tmp_path / "out"
    answer(questions(3), options, out)
    before = out.read_bytes()

    with pytest.raises(OutputError, match=message):
        answer(source, options, out)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"samples": 5}, "samples 1 -> 5; temperature 0.0 -> 0.7"),
        ({"temperature": 0.5}, "temperature 0.0 -> 0.5"),
        ({"top_p": 0.5}, "top_p 0.95 -> 0.5"),
        ({"seed": 3}, "seed 0 -> 3"),
        ({"max_tokens": 9}, "max_tokens 256 -> 9"),
        ({"method": "cot"}, "method guided -> cot"),
        ({"deterministic": True}, "deterministic false -> true"),
        ({"given_rationales": True}, "given_rationales false -> true"),
    ],
)
def test_other_settings_are_refused(
    options: AnswerOptions, tmp_path: Path, changes: dict[str, object], named: str
):
    out = tmp_path / "out"
    answer(questions(2), options, out)

    with pytest.raises(OutputError) as caught:
        answer(questions(3), replace(options, **changes), out)
    assert f"({named}" in str(caught.value)
    assert len(ids(out)) == 2


def test_another_model_or_other_prompts_are_refused(options: AnswerOptions, tmp_path: Path):
    out, prompts = tmp_path / "out", tmp_path / "prompts"
    answer(questions(2), options, out)
    prompts.mkdir()
    (prompts / "standard.j2").write_text("{{ row.question }}")

    with pytest.raises(OutputError, match=r"prompts sha256:.* -> sha256:"):
        answer(questions(3), replace(options, prompting=PromptOptions(prompts=prompts)), out)
    (tmp_path / "script.jsonl").write_text(SCRIPT.replace("Paris", "Rome"))
    with pytest.raises(OutputError, match=r"small_digest sha256:.* -> sha256:.*; large_digest"):
        answer(questions(3), options, out)


def test_settings_of_speed_do_not_matter_unless_the_run_is_deterministic(
    options: AnswerOptions, tmp_path: Path
):
    faster = replace(options, engine=replace(options.engine, threads=options.engine.threads + 1))
    answer(questions(2), options, tmp_path / "fast")
    answer(questions(3), faster, tmp_path / "fast")
    answer(questions(2), replace(options, deterministic=True), tmp_path / "same")

    with pytest.raises(OutputError, match="threads"):
        answer(questions(3), replace(faster, deterministic=True), tmp_path / "same")


def test_overwrite_starts_anew(options: AnswerOptions, tmp_path: Path):
    out = tmp_path / "out"
    answer(questions(3), options, out)
    answer(questions(2), replace(options, seed=9), out, overwrite=True)

    assert ids(out) == ["q0", "q1"]


def test_overwrite_keeps_the_old_results_when_the_models_do_not_load(options: AnswerOptions, tmp_path: Path):
    out = tmp_path / "out"
    answer(questions(3), options, out)
    with pytest.raises(ModelError):
        answer(questions(2), replace(options, small="scripted:/nowhere"), out, overwrite=True)

    assert len(ids(out)) == 3


def test_input_and_output_are_looked_at_before_a_model_is_opened(options: AnswerOptions, tmp_path: Path):
    nowhere = replace(options, small="scripted:/nowhere", large="scripted:/nowhere")

    with pytest.raises(InputError, match="is empty"):
        answer(b"", nowhere, tmp_path / "out")
    with pytest.raises(OutputError, match="no such folder"):
        answer(questions(1), nowhere, tmp_path / "none" / "out")
    with pytest.raises(InputError, match="missing"):
        list(AnswerRun(tmp_path / "missing", nowhere, tmp_path / "out").results())
    assert not (tmp_path / "out").exists()


def test_the_input_is_never_the_output(options: AnswerOptions, tmp_path: Path):
    source = tmp_path / "questions.jsonl"
    source.write_bytes(questions(2))

    with pytest.raises(UsageError, match="is the input itself"):
        list(AnswerRun(source, options, source, overwrite=True).results())
    assert source.read_bytes() == questions(2)


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("--shots-from", {"prompting": PromptOptions(shots=1, shots_from=Path("kept"))}),
        ("--large-system", {"prompting": PromptOptions(large_system="kept")}),
        ("--answer", {"answer_kind": "json:kept"}),
    ],
)
def test_a_file_that_is_read_is_never_the_output(
    option: str, changes: dict[str, Any], options: AnswerOptions, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    kept, source = Path("kept"), Path("questions.jsonl")
    content = questions(2) if option == "--shots-from" else b"{}"
    kept.write_bytes(content)
    source.write_bytes(questions(2))

    with pytest.raises(UsageError, match=f"is the file of {option}"):
        list(AnswerRun(source, replace(options, **changes), kept, overwrite=True).results())
    assert kept.read_bytes() == content


def test_the_input_is_not_the_output_when_it_comes_through_standard_input(
    options: AnswerOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "questions.jsonl"
    source.write_bytes(questions(2))

    with source.open() as stdin, pytest.raises(UsageError, match="is the input itself"):
        monkeypatch.setattr("sys.stdin", stdin)
        list(AnswerRun(Path("-"), options, source, overwrite=True).results())
    assert source.read_bytes() == questions(2)


def test_overwrite_needs_an_output(options: AnswerOptions):
    with pytest.raises(UsageError, match="--overwrite needs -o"):
        answer(questions(1), options, overwrite=True)


def test_the_run_file_tells_how_the_results_were_made(options: AnswerOptions, tmp_path: Path):
    out = tmp_path / "out"
    run = AnswerRun(BytesIO(questions(2)), options, out, command=("lmcot", "answer", "-"))
    list(run.results())
    record = json.loads((tmp_path / "out.run.json").read_text())

    assert record["command"] == ["lmcot", "answer", "-"]
    assert record["settings"]["large"] == options.large
    assert record["settings"]["large_digest"].startswith("sha256:")
    assert record["settings"]["seed"] == 0
    assert record["engine"]["threads"] == options.engine.threads
    assert record["totals"] == run.session.totals.to_record()
    assert record["finished"] is True
    assert record["started"] <= record["ended"]
