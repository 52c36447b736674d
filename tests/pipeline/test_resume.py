import json
import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lmcot_cli.errors import OutputError, TooManyErrorsError, UsageError
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.error_limit import ErrorLimit, parse_error_limit
from lmcot_cli.pipeline.journal import run_file_of
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Result

SCRIPT = '{"match": "", "text": ["Lyon", "Nice"]}'


@pytest.fixture
def options(tmp_path: Path) -> AnswerOptions:
    script = tmp_path / "script.jsonl"
    script.write_text(SCRIPT)
    return AnswerOptions(large=f"scripted:{script}", small=f"scripted:{script}", given_rationales=True)


def questions(count: int, failing: set[int]) -> bytes:
    """Rows of which the failing ones bring no rationale."""
    rows = [
        {"id": f"q{i}", "question": f"Where is {i}?", "context": "c"}
        | ({} if i in failing else {"rationale": "r"})
        for i in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def run(source: bytes, options: AnswerOptions, out: Path, **more: bool) -> list[Result]:
    return list(AnswerRun(BytesIO(source), options, out, **more).results())


def out_of_time(options: AnswerOptions, out: Path, rows: int, tokens: int) -> None:
    """Make an output whose later rows failed, for a reason that another run has not."""
    run(questions(rows, set()), replace(options, max_tokens_total=tokens), out)
    failed = [json.loads(line)["error"] is not None for line in out.read_bytes().splitlines()]
    assert len(failed) == rows
    assert any(failed) and not all(failed)


def test_retrying_redoes_what_failed_in_its_place_and_keeps_the_rest_byte_for_byte(
    options: AnswerOptions, tmp_path: Path
):
    out, whole = tmp_path / "out", tmp_path / "whole"
    out_of_time(options, out, 300, 3000)
    before = out.read_bytes().splitlines()
    again = run(questions(300, set()), options, out, retry_errors=True)
    run(questions(300, set()), options, whole)

    assert out.read_bytes() == whole.read_bytes()
    assert [r.id for r in again] == [
        json.loads(line)["id"] for line in before if json.loads(line)["error"] is not None
    ]
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out", "out.run.json"]
    assert json.loads((tmp_path / "out.run.json").read_text())["totals"]["failed"] == 0


def test_a_retry_that_is_interrupted_keeps_what_it_did_and_the_next_does_the_rest(
    options: AnswerOptions, tmp_path: Path
):
    out, whole = tmp_path / "out", tmp_path / "whole"
    out_of_time(options, out, 300, 3000)
    before = json.loads((tmp_path / "out.run.json").read_text())
    results = AnswerRun(BytesIO(questions(300, set())), options, out, retry_errors=True).results()
    redone = [next(results).id for _ in range(50)]
    results.close()
    kept = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [record["id"] for record in kept] == [f"q{i}" for i in range(300)]
    assert all(record["error"] is None for record in kept if record["id"] in redone)
    rest = run(questions(300, set()), options, out, retry_errors=True)
    run(questions(300, set()), options, whole)

    assert not set(redone) & {r.id for r in rest}
    assert out.read_bytes() == whole.read_bytes()
    assert json.loads((tmp_path / "out.run.json").read_text())["started"] == before["started"]
    assert not list(tmp_path.glob(".out.retry*"))


def killed_retry(options: AnswerOptions, out: Path, rows: int, redone: int) -> list[str]:
    """Leave behind what a retry does that is killed after `redone` rows, a torn line at its end; return their ids."""
    results = AnswerRun(BytesIO(questions(rows, set())), options, out, retry_errors=True).results()
    ids = [next(results).id for _ in range(redone)]
    retry = out.with_name(f".{out.name}.retry")
    files = [out, run_file_of(out), retry, run_file_of(retry)]
    left = {file: file.read_bytes() for file in files}
    left[retry] += b'{"id": "q'
    results.close()
    for file, content in left.items():
        file.write_bytes(content)
    return ids


@pytest.mark.parametrize("retry_errors", [True, False])
def test_what_a_killed_retry_did_is_taken_over(options: AnswerOptions, tmp_path: Path, retry_errors: bool):
    out, whole = tmp_path / "out", tmp_path / "whole"
    out_of_time(options, out, 300, 3000)
    failed = sum(json.loads(line)["error"] is not None for line in out.read_bytes().splitlines())
    redone = killed_retry(options, out, 300, 50)
    run(questions(300, set()), options, whole)
    rest = run(questions(300, set()), options, out, retry_errors=retry_errors)

    assert len(redone) + len(rest) == (failed if retry_errors else 50)
    assert not set(redone) & {r.id for r in rest}
    assert (out.read_bytes() == whole.read_bytes()) == retry_errors
    assert len(out.read_bytes().splitlines()) == 300
    assert not list(tmp_path.glob(".out*"))


def test_a_retry_that_is_killed_again_and_again_loses_nothing(options: AnswerOptions, tmp_path: Path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    out_of_time(options, out, 300, 3000)
    redone = [row for count in (1, 30, 7) for row in killed_retry(options, out, 320, count)]
    run(questions(320, set()), options, whole)
    rest = run(questions(320, set()), options, out, retry_errors=True)

    assert len({*redone, *(r.id for r in rest)}) == len(redone) + len(rest)
    assert out.read_bytes() == whole.read_bytes()


def test_what_another_run_left_never_comes_back(options: AnswerOptions, tmp_path: Path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    other = replace(options, seed=5)
    for left_by, source in (
        (other, questions(40, set())),
        (options, questions(40, set()).replace(b"is", b"was")),
    ):
        run(questions(40, {3, 4, 30}), left_by, out, overwrite=True)
        killed_retry(left_by, out, 40, 2)
        run(source.replace(b', "rationale": "r"', b"", 1), options, out, overwrite=True)
        again = run(source, options, out, retry_errors=True)
        run(source, options, whole, overwrite=True)

        assert [r.id for r in again] == ["q0"]
        assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("run_file", [None, b"{", b'{"settings": {}, "started": "then"}'])
def test_what_is_no_retry_of_the_output_is_begun_anew(
    options: AnswerOptions, tmp_path: Path, run_file: bytes | None
):
    out = tmp_path / "out"
    out_of_time(options, out, 300, 3000)
    (tmp_path / ".out.retry").write_bytes(b'{"stale": 1}\n')
    if run_file:
        (tmp_path / ".out.retry.run.json").write_bytes(run_file)
    run(questions(300, set()), options, out, retry_errors=True)

    assert b"stale" not in out.read_bytes()
    assert len(out.read_bytes().splitlines()) == 300
    assert not list(tmp_path.glob(".out*"))


def test_a_row_whose_fault_was_in_the_input_is_answered_once_it_is_mended(
    options: AnswerOptions, tmp_path: Path
):
    out = tmp_path / "out"
    lines = questions(4, {1}).splitlines(keepends=True)
    run(b"".join([lines[0], lines[1], b"{torn\n", lines[3]]), options, out)
    again = run(questions(4, set()), options, out, retry_errors=True)

    assert [(r.id, r.error) for r in again] == [("q1", None), ("q2", None)]
    assert [json.loads(line)["id"] for line in out.read_bytes().splitlines()] == ["q0", "q1", "q2", "q3"]


def test_a_retry_keeps_a_links_target_and_the_files_mode(options: AnswerOptions, tmp_path: Path):
    real, link = tmp_path / "real", tmp_path / "out"
    run(questions(3, {1}), options, real)
    real.chmod(0o600)
    link.symlink_to(real)
    (tmp_path / "real.run.json").rename(tmp_path / "out.run.json")
    run(questions(3, set()), options, link, retry_errors=True)

    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert all(json.loads(line)["error"] is None for line in real.read_bytes().splitlines())


def test_a_link_to_another_file_system_is_no_obstacle(options: AnswerOptions, tmp_path: Path):
    elsewhere = Path("/dev/shm")
    if not os.access(elsewhere, os.W_OK) or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system to write to")
    out = tmp_path / "out"
    with TemporaryDirectory(dir=elsewhere) as folder:
        out.symlink_to(Path(folder) / "real")
        run(questions(3, {1}), options, out)
        run(questions(3, set()), options, out, retry_errors=True)
        records = [json.loads(line) for line in out.read_bytes().splitlines()]

        assert [path.name for path in Path(folder).iterdir()] == ["real"]
    assert [record["error"] for record in records] == [None] * 3
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out", "out.run.json"]
    assert json.loads((tmp_path / "out.run.json").read_text())["totals"]["failed"] == 0


def test_what_a_retry_keeps_counts_towards_the_budget(options: AnswerOptions, tmp_path: Path):
    out = tmp_path / "out"
    out_of_time(options, out, 300, 3000)
    failed = sum(json.loads(line)["error"] is not None for line in out.read_bytes().splitlines())
    again = run(questions(300, set()), replace(options, max_tokens_total=3000), out, retry_errors=True)

    assert sum(r.error is None for r in again) <= 2
    assert len(again) == failed


def test_a_retry_within_a_budget_gives_every_row_a_sample_first(options: AnswerOptions, tmp_path: Path):
    source, out = tmp_path / "questions", tmp_path / "out"
    lines = questions(400, set()).splitlines(keepends=True)
    source.write_bytes(b"".join(b"{torn\n" if i % 5 in (1, 3) else line for i, line in enumerate(lines)))
    sampled = replace(options, given_rationales=False, method="standard", samples=15)
    list(AnswerRun(source, sampled, out).results())
    totals = json.loads(run_file_of(out).read_text())["totals"]
    kept = totals["usage"]["large"]["prompt"] + totals["usage"]["large"]["completion"]
    two_samples_each = replace(sampled, max_tokens_total=kept + 2 * 160 * kept // totals["samples"])
    source.write_bytes(b"".join(lines))
    again = list(AnswerRun(source, two_samples_each, out, retry_errors=True).results())

    assert len(again) == 160
    assert not [r.error for r in again if r.error]
    assert any(r.cut_short for r in again)


def test_a_resume_is_not_given_up_for_what_failed_in_an_earlier_session(
    options: AnswerOptions, tmp_path: Path
):
    out = tmp_path / "out"
    limited = replace(options, max_errors="2")
    with pytest.raises(TooManyErrorsError):
        run(questions(60, {1, 3, 5, 50}), limited, out)

    assert len(run(questions(60, {1, 3, 5, 50}), limited, out)) == 54


def test_retrying_answers_rows_that_were_never_reached(options: AnswerOptions, tmp_path: Path):
    out = tmp_path / "out"
    run(questions(5, {1}), options, out)
    again = run(questions(9, {1}), options, out, retry_errors=True)

    assert [r.id for r in again] == ["q1", "q5", "q6", "q7", "q8"]
    assert len(out.read_bytes().splitlines()) == 9


def test_retrying_needs_the_output_and_the_input_it_is_about(options: AnswerOptions, tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="does not exist"):
        run(questions(2, set()), options, out, retry_errors=True)
    with pytest.raises(UsageError, match="needs -o"):
        list(AnswerRun(BytesIO(questions(2, set())), options, retry_errors=True).results())
    run(questions(3, {1}), options, out)
    with pytest.raises(UsageError, match="choose one"):
        run(questions(3, {1}), options, out, retry_errors=True, overwrite=True)
    with pytest.raises(OutputError, match="'q2', but the input"):
        run(questions(2, {1}), options, out, retry_errors=True)


def test_a_run_is_given_up_when_more_rows_fail_than_may_and_what_is_done_is_kept(
    options: AnswerOptions, tmp_path: Path
):
    out = tmp_path / "out"
    with pytest.raises(TooManyErrorsError, match="3 of 6 rows failed"):
        run(questions(50, {1, 3, 5, 7}), replace(options, max_errors="2"), out)

    assert len(out.read_bytes().splitlines()) == 6
    assert len(run(questions(50, {1, 3, 5, 7}), replace(options, max_errors="9"), out)) == 44


def test_a_share_of_errors_means_something_after_twenty_rows():
    limit = parse_error_limit("10%")

    assert not limit.reached(failed=5, rows=19)
    assert limit.reached(failed=3, rows=20)
    assert not limit.reached(failed=2, rows=20)
    assert parse_error_limit("0") == ErrorLimit(count=0)
    assert parse_error_limit("0").reached(failed=1, rows=1)


@pytest.mark.parametrize("text", ["", "x", "-1", "100%", "-5%", "%", "1.5", "nan%"])
def test_what_is_no_error_limit_is_refused(text: str):
    with pytest.raises(UsageError, match="25, or 10%"):
        parse_error_limit(text)
