"""The whole of `lmcot answer`, through the command line and, where it matters, real processes."""

import json
import os
import pty
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app

SCRIPT = """\
{"match": "lead to the answer", "text": ["R1", "R2", "R3"]}
{"match": "Rationale: R1", "text": "Lyon."}
{"match": "Rationale:", "text": "Nice."}
{"match": "Reason step by step", "text": ["It is. So the answer is Lyon.", "Who knows?"]}
{"match": "", "text": ["Lyon", "Nice", "Paris"]}
"""
LMCOT = (sys.executable, "-m", "lmcot_cli")

Answer = Callable[..., Any]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a script and ten questions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "script.jsonl").write_text(SCRIPT)
    write_questions(tmp_path / "q.jsonl", 10)
    return tmp_path


def write_questions(path: Path, count: int) -> None:
    with path.open("w") as file:
        for i in range(count):
            row = {"id": f"q{i}", "question": f"Where is {i}?", "context": "Here.", "answer": "Lyon"}
            file.write(json.dumps(row) + "\n")


def words(*more: str) -> list[str]:
    return ["answer", "--small", "scripted:script.jsonl", "--large", "scripted:script.jsonl", *more]


def invoke(*more: str, stdin: bytes | None = None) -> Any:
    return CliRunner().invoke(app, words(*more), input=stdin)


def process(*more: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*LMCOT, *words(*more)], capture_output=True, timeout=300, **options)


def records(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def ids(path: Path) -> list[str]:
    return [record["id"] for record in records(path.read_bytes())]


def test_without_an_output_records_go_to_stdout_and_all_else_to_stderr(work: Path):
    result = invoke("q.jsonl")

    assert result.exit_code == 0
    assert [record["id"] for record in records(result.stdout_bytes)] == [f"q{i}" for i in range(10)]
    assert result.stderr.startswith("answered 10 of 10 rows, in ")
    assert sorted(entry.name for entry in work.iterdir()) == ["q.jsonl", "script.jsonl"]


def test_with_an_output_stdout_stays_empty(work: Path):
    result = invoke("q.jsonl", "-o", "out.jsonl")

    assert (result.exit_code, result.stdout) == (0, "")
    assert ids(work / "out.jsonl") == [f"q{i}" for i in range(10)]
    assert "; results in out.jsonl\n" in result.stderr
    assert json.loads((work / "out.jsonl.run.json").read_text())["command"][0] == "lmcot"


def test_quiet_says_nothing(work: Path):
    (work / "q.jsonl").write_text('{"question": "?"}\n{torn\n')
    result = invoke("q.jsonl", "-q", "-o", "out.jsonl")

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "")


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_questions_come_from_standard_input(work: Path, arguments: list[str]):
    result = invoke(*arguments, stdin=(work / "q.jsonl").read_bytes())

    assert len(records(result.stdout_bytes)) == 10


@pytest.mark.parametrize("method", ["standard", "cot", "guided"])
def test_every_method_votes_over_its_samples(work: Path, method: str):
    result = invoke("q.jsonl", "--method", method, "--samples", "5", "--stop", "none", "--seed", "1")

    for record in records(result.stdout_bytes):
        answers = [sample["answer"] for sample in record["samples"] if sample["answer"]]
        assert record["method"] == method
        assert len(record["samples"]) == 5
        assert len({sample["seed"] for sample in record["samples"]}) == 5
        assert sum(record["votes"].values()) == len(answers)
        assert record["agreement"] == max(record["votes"].values()) / 5


def test_the_seed_changes_the_draws_and_nothing_else_does(work: Path):
    first, again, other = (invoke("q.jsonl", "-k", "3", "--seed", seed).stdout for seed in ("1", "1", "2"))

    assert first == again != other


def test_rows_without_an_answer_are_counted_but_are_no_failure(work: Path):
    result = invoke("q.jsonl", "--method", "cot", "--answer-regex", "answer is (.*)")
    unanswered = sum(record["answer"] is None for record in records(result.stdout_bytes))

    assert 0 < unanswered < 10
    assert result.exit_code == 0
    assert f"answered {10 - unanswered} of 10 rows, {unanswered} without an answer, in" in result.stderr


def test_bad_rows_are_warned_of_with_their_line_and_counted(work: Path):
    good = (work / "q.jsonl").read_bytes().splitlines(keepends=True)
    bad = [b"{torn\n", b"\xff\n", b'{"id": "x"}\n', b'{"id": "y", "question": "?", "context": 3}\n', good[0]]
    (work / "q.jsonl").write_bytes(b"".join([*good, *bad]))
    result = invoke("q.jsonl", "--limit", "14")
    errors = [record["error"] for record in records(result.stdout_bytes)]
    result_with_duplicate = invoke("q.jsonl")

    assert result.exit_code == 1
    assert [error["type"] for error in errors if error] == ["bad_row"] * 4
    for line in (11, 12, 13, 14):
        assert f"warning: q.jsonl:{line}: " in result.stderr
    assert "answered 10 of 14 rows, 4 failed" in result.stderr
    assert "warning: q.jsonl:15: the id 'q0' of line 15 is that of line 1" in result_with_duplicate.stderr


def test_many_warnings_are_cut_short(work: Path):
    (work / "q.jsonl").write_text("{torn\n" * 100)
    result = invoke("q.jsonl", "--max-errors", "1000")

    assert result.stderr.count("warning: ") == 21
    assert "100 failed" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.jsonl"], 1, "error: missing.jsonl: cannot be read: No such file or directory"),
        (["."], 1, "error: .: is a folder that datasets did not save"),
        (["empty.jsonl"], 1, "error: empty.jsonl: is empty"),
        (["q.jsonl", "-o", "none/out"], 1, "error: none/out: there is no such folder: mkdir -p none"),
        (["q.jsonl", "-o", "."], 1, "error: .: cannot be written: Is a directory"),
        (["q.jsonl", "-o", "q.jsonl", "--overwrite"], 2, "error: -o q.jsonl: is the input itself"),
        (["q.jsonl", "-o", "script.jsonl"], 1, "error: script.jsonl: exists, but not script.jsonl.run.json"),
        (["q.jsonl", "--overwrite"], 2, "error: --overwrite needs -o"),
        (["q.jsonl", "--samples", "0"], 2, "error: --samples 0"),
        (
            ["q.jsonl", "--samples", "3", "--temperature", "0"],
            2,
            "error: --temperature 0 makes all 3 samples alike",
        ),
        (["q.jsonl", "--threads", "0"], 2, "error: --threads 0: give a number from 1 to 512"),
        (
            ["q.jsonl", "--no-flash-attention", "--kv-type", "q8_0"],
            2,
            "error: --kv-type q8_0 needs flash attention: leave out --no-flash-attention",
        ),
        (["q.jsonl", "--prompts", "none"], 1, "error: none: no folder with a template"),
        (["q.jsonl", "--config", "none.toml"], 1, "error: none.toml: cannot be read"),
        (["q.jsonl", "--large", "nonsense"], 2, "error: --large 'nonsense' names no model"),
    ],
)
def test_what_cannot_work_is_one_line_and_an_exit_code(
    work: Path, arguments: list[str], code: int, message: str
):
    (work / "empty.jsonl").touch()
    result = invoke(*arguments)

    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
    assert (result.exit_code, result.stdout) == (code, "")


def test_an_unknown_option_is_a_usage_error(work: Path):
    assert invoke("q.jsonl", "--sampels", "3").exit_code == 2


def test_a_choice_that_there_is_not_is_a_usage_error_that_names_the_others(work: Path):
    result = invoke("q.jsonl", "--method", "magic")

    assert result.exit_code == 2
    assert "invalid value for '--method': 'magic' is not one of 'standard'," in result.stderr


def test_the_settings_file_fills_in_what_flags_leave_out(work: Path):
    text = (
        '[models]\nbig = "scripted:script.jsonl"\n[answer]\nmethod = "standard"\nlarge = "big"\nsamples = 3\n'
    )
    (work / "lmcot.toml").write_text(text)
    words = ["answer", "q.jsonl", "--samples", "2", "--stop", "none"]
    unconfirmed = CliRunner().invoke(app, words)
    result = CliRunner().invoke(app, [*words, "--config", "lmcot.toml"])

    assert unconfirmed.exit_code == 1
    assert "it would load the model 'scripted:script.jsonl'" in unconfirmed.stderr
    assert result.exit_code == 0
    assert {(r["method"], len(r["samples"])) for r in records(result.stdout_bytes)} == {("standard", 2)}


def test_rows_are_chosen_by_their_ids(work: Path):
    chosen = invoke("q.jsonl", "--ids", "q7, q3")
    shown = invoke("q.jsonl", "--ids", "q7", "--dry-run")

    assert [record["id"] for record in records(chosen.stdout_bytes)] == ["q3", "q7"]
    assert "1 row. No model was asked." in shown.stdout
    assert invoke("q.jsonl", "--ids", "q3,none").stderr.endswith("no row has the id 'none' of --ids\n")


def test_prompts_of_ones_own_take_the_place_of_ours(work: Path):
    (work / "mine").mkdir()
    (work / "mine" / "standard.j2").write_text("Rationale: R1 {{ row.question }}")
    result = invoke("q.jsonl", "--method", "standard", "--prompts", "mine")

    assert {record["answer"] for record in records(result.stdout_bytes)} == {"Lyon"}


def test_a_resume_skips_what_is_done_and_says_so(work: Path):
    invoke("q.jsonl", "-o", "out", "--limit", "4")
    result = invoke("q.jsonl", "-o", "out")

    assert result.exit_code == 0
    assert ids(work / "out") == [f"q{i}" for i in range(10)]
    assert "answered 10 of 10 rows (4 rows were done earlier), in" in result.stderr


def test_a_resume_counts_the_tokens_and_samples_of_its_own_session(work: Path):
    invoke("q.jsonl", "-o", "out", "--limit", "4", "--samples", "5")
    resumed = invoke("q.jsonl", "-o", "out", "--samples", "5").stderr
    finished = invoke("q.jsonl", "-o", "out", "--samples", "5").stderr

    now = records((work / "out").read_bytes())[4:]
    saved = sum(record["samples_saved"] for record in now)
    assert saved > 0
    assert f"{saved} of 30 samples saved" in resumed
    assert "; 0 tokens written; results in" in finished


def test_a_retry_is_advised_where_there_is_an_output_to_retry(work: Path):
    (work / "q.jsonl").write_text('{"question": "?", "context": "c"}\n{torn\n')

    assert "1 failed, in" in invoke("q.jsonl").stderr
    assert "1 failed (--retry-errors answers them again), in" in invoke("q.jsonl", "-o", "out").stderr
    stopped, kept = (invoke("q.jsonl", "--max-errors", "0", *more).stderr for more in ([], ["-o", "new"]))
    assert "(--max-errors 0): fix the cause and run the same command again\n" in stopped
    assert "with --retry-errors for the failed rows" in kept


def test_rows_that_failed_earlier_still_count_for_the_exit_code(work: Path):
    (work / "q.jsonl").write_text('{"question": "?", "context": "c"}\n{torn\n')

    assert [invoke("q.jsonl", "-o", "out").exit_code for _ in range(2)] == [1, 1]
    assert len((work / "out").read_bytes().splitlines()) == 2


def test_a_resume_with_other_settings_is_refused_until_overwritten(work: Path):
    invoke("q.jsonl", "-o", "out")
    refused = invoke("q.jsonl", "-o", "out", "--seed", "3", "--samples", "2")
    accepted = invoke("q.jsonl", "-o", "out", "--seed", "3", "--samples", "2", "--overwrite")

    assert refused.exit_code == 1
    assert "(samples 1 -> 2; temperature 0.0 -> 0.7; seed 0 -> 3)" in refused.stderr
    assert "choose another -o, or start it anew with --overwrite" in refused.stderr
    assert accepted.exit_code == 0
    record = records((work / "out").read_bytes())[0]
    assert len(record["samples"]) + record["samples_saved"] == 2


def test_a_reader_that_closes_the_pipe_ends_it_quietly(work: Path):
    write_questions(work / "q.jsonl", 5000)
    running = subprocess.Popen([*LMCOT, *words("q.jsonl")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["id"] == "q0"
    running.stdout.close()
    _, errors = running.communicate(timeout=30)

    assert (running.returncode, errors) == (141, b"")


def test_a_full_disk_behind_stdout_is_one_line(work: Path):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*LMCOT, *words("q.jsonl")], stdout=full, stderr=subprocess.PIPE, timeout=30)

    assert done.returncode == 1
    assert done.stderr == b"error: standard output: cannot be written: No space left on device\n"


def test_a_full_disk_keeps_what_is_done_and_the_same_command_goes_on(work: Path):
    def allow_little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))

    full = process("q.jsonl", "-o", "out", preexec_fn=allow_little)
    kept = (work / "out").read_bytes()
    done = process("q.jsonl", "-o", "out")

    assert full.returncode == 1
    assert full.stderr.startswith(b"error: out: cannot be written: File too large; ")
    assert b"run the same command again" in full.stderr
    assert full.stderr.count(b"\n") == 1
    assert 0 < kept.count(b"\n") < 10
    assert (done.returncode, ids(work / "out")) == (0, [f"q{i}" for i in range(10)])


def test_a_full_disk_keeps_what_a_retry_did(work: Path):
    write_questions(work / "q.jsonl", 200)
    invoke("q.jsonl", "-o", "out", "--max-tokens-total", "100")
    failed = sum(record["error"] is not None for record in records((work / "out").read_bytes()))

    def allow_some() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    full = process("q.jsonl", "-o", "out", "--retry-errors", preexec_fn=allow_some)
    kept = (work / ".out.retry").read_bytes().count(b"\n")
    done = process("q.jsonl", "-o", "out", "--retry-errors")

    assert full.returncode == 1
    assert b"cannot be written: File too large; " in full.stderr
    assert full.stderr.count(b"\n") == 1
    assert 200 - failed < kept < 200
    assert done.returncode == 0
    assert f"answered 200 of 200 rows ({kept} rows were done earlier)" in done.stderr.decode()
    assert ids(work / "out") == [f"q{i}" for i in range(200)]


def wait_for(path: Path, size: int, running: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Wait until the file has grown to `size`, the process has ended or the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and running.poll() is None:
        if path.exists() and path.stat().st_size >= size:
            return
        time.sleep(0.001)


def start(*more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*LMCOT, *words(*more)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@contextmanager
def endless(work: Path, name: str) -> Iterator[Callable[[], None]]:
    """A question file that never ends: a pipe, filled by the function that is yielded once somebody reads it."""
    write_questions(work / "some.jsonl", 2_000)
    (work / name).unlink(missing_ok=True)
    os.mkfifo(work / name)
    with ExitStack() as opened:

        def fill() -> None:
            opened.enter_context((work / name).open("wb")).write((work / "some.jsonl").read_bytes())

        yield fill


def test_ctrl_c_keeps_what_is_done_and_prints_the_command_that_goes_on(work: Path):
    with endless(work, "q.jsonl") as fill:
        running = start("q.jsonl", "-o", "out file", "--overwrite")
        fill()
        wait_for(work / "out file", 5000, running)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    done = ids(work / "out file")
    run_file = json.loads((work / "out file.run.json").read_text())

    assert running.returncode == 130
    assert done
    assert done == [f"q{i}" for i in range(len(done))]
    assert b"Traceback" not in errors
    assert errors.endswith(
        b"continue with: lmcot " + " ".join(words("q.jsonl", "-o")).encode() + b" 'out file'\n"
    )
    assert run_file["finished"] is False
    assert run_file["ended"] is not None


def test_two_runs_cannot_write_one_output(work: Path):
    write_questions(work / "q.jsonl", 20)
    with endless(work, "endless.jsonl") as fill:
        running = start("endless.jsonl", "-o", "out")
        fill()
        wait_for(work / "out", 1, running)
        second = process("q.jsonl", "-o", "out")
        running.kill()
        running.communicate()

    assert second.returncode == 1
    assert second.stderr.startswith(b"error: out: another lmcot is writing to it")


def test_killed_at_twenty_random_moments_it_ends_in_the_same_bytes(work: Path):
    write_questions(work / "q.jsonl", 3000)
    arguments = ("q.jsonl", "--samples", "3", "--deterministic")
    assert process(*arguments, "-o", "whole").returncode == 0
    whole, out = (work / "whole").read_bytes(), work / "out"
    moments = random.Random(20)
    for kill in range(20):
        size = out.stat().st_size if out.exists() else 0
        running = start(*arguments, "-o", "out")
        # In turn a random moment of the start and of the answering after it, never so late that nothing is left.
        seconds = moments.uniform(0, 1.5) if kill % 2 else 30
        wait_for(out, size + moments.randrange(1, len(whole) // 25), running, seconds)
        time.sleep(moments.uniform(0, 0.005))
        running.kill()
        running.communicate()
        if out.exists():
            assert whole.startswith(out.read_bytes())
        if running.returncode == 0:  # this process was held up for so long that the run came to its end
            break
        assert running.returncode == -signal.SIGKILL
    assert out.stat().st_size > len(whole) // 10
    done = process(*arguments, "-o", "out")

    assert done.returncode == 0
    assert out.read_bytes() == whole
    assert json.loads((work / "out.run.json").read_text())["totals"]["rows"] == 3000


def peak_kib(rows: int) -> int:
    code = (
        "import resource, sys; from lmcot_cli.main import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    arguments = words("many.jsonl", "-o", f"out{rows}", "--limit", str(rows), "--method", "standard", "-q")
    return int(
        subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True).stdout
    )


def test_ten_times_the_rows_take_no_more_memory(work: Path):
    write_questions(work / "many.jsonl", 20_000)

    assert peak_kib(20_000) - peak_kib(2_000) < 4 * 1024


def on_a_terminal(*arguments: str) -> tuple[int, str]:
    """Run with stdin, stdout and stderr on a terminal; return the exit code and what it showed."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200", "PYTHONUTF8": "1", "NO_COLOR": "1"}
    running = subprocess.Popen(
        [*LMCOT, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # how Linux says that the other side has closed
        pass
    finally:
        os.close(ours)
    return running.wait(timeout=30), shown.decode()


def test_on_a_terminal_each_row_is_a_readable_line(work: Path):
    rows = [
        {"question": "[bold]Where\u001b[31m is\nit?", "context": "c", "answer": "Lyon"},
        {"question": "And who?", "context": "c", "answer": "Somebody"},
        {"question": "No gold?", "context": "c"},
        {"id": 3},
    ]
    (work / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, shown = on_a_terminal(*words("q.jsonl", "--given-rationales", "--prompts", "mine"))
    assert code == 1
    assert "error: mine" in shown
    (work / "script.jsonl").write_text('{"match": "", "text": "the \\u001b[2JLyon [red]"}')
    code, shown = on_a_terminal(*words("q.jsonl", "--method", "standard", "-k", "2", "--stop", "none"))
    lines = re.sub(r"\x1b\[[012]?m", "", shown).splitlines()

    assert code == 1
    assert lines[0] == "✗ [bold]Where[31m is it?  the [2JLyon [red]  100% of 2 samples"
    assert lines[2].startswith("· No gold?")
    assert "! row 3  (failed)" in lines
    assert any(line.startswith("warning: q.jsonl:4: ") for line in lines)
    assert lines[-1].startswith("answered 3 of 4 rows, 1 failed")
    assert "\x1b[31m" not in shown
    assert "\x1b[2J" not in shown

    code, shown = on_a_terminal(*words("q.jsonl", "--limit", "1"))
    lines = re.sub(r"\x1b\[[012]?m", "", shown).splitlines()
    assert code == 0
    assert lines[1] == "    the [2JLyon [red]", "the rationale stands below its answer"


def test_on_a_terminal_with_an_output_progress_shows_and_goes_away(work: Path):
    (work / "q.jsonl").write_text('{torn\n{"question": "?", "context": "c"}\n')
    code, shown = on_a_terminal(*words("q.jsonl", "-o", "out"))

    assert code == 1
    assert "answering" in shown
    assert "warning: q.jsonl:1: not valid JSON" in shown
    assert "answered 1 of 2 rows, 1 failed" in shown.splitlines()[-1]
    assert len(ids(work / "out")) == 2


def test_quiet_shows_no_progress(work: Path):
    assert on_a_terminal(*words("q.jsonl", "-o", "out", "--quiet")) == (0, "")


def test_on_a_terminal_json_is_json(work: Path):
    _, shown = on_a_terminal(*words("q.jsonl", "--json", "--quiet"))

    assert [json.loads(line)["id"] for line in shown.splitlines()] == [f"q{i}" for i in range(10)]


def test_without_questions_on_a_terminal_it_says_how(work: Path):
    code, shown = on_a_terminal(*words())

    assert code == 2
    assert shown.startswith("error: no questions given: lmcot answer questions.jsonl")


def test_json_on_a_terminal_is_not_mixed_with_progress(work: Path):
    code, shown = on_a_terminal(*words("q.jsonl", "--json"))

    *lines, summary = shown.splitlines()
    assert code == 0
    assert [json.loads(line)["id"] for line in lines] == [f"q{i}" for i in range(10)]
    assert summary.startswith("answered 10 of 10 rows")


def test_the_summary_counts_what_limits_cut(work: Path):
    (work / "script.jsonl").write_text('{"match": "", "text": "Ly", "finish_reason": "length"}\n')
    result = invoke("q.jsonl", "--method", "standard", "--large", "scripted:script.jsonl")
    assert "replies were cut: raise --max-answer-tokens" in result.stderr

    (work / "script.jsonl").write_text('{"match": "", "text": "", "finish_reason": "length"}\n')
    result = invoke("q.jsonl", "--method", "standard", "--large", "scripted:script.jsonl")
    assert result.exit_code == 1
    assert "raise --max-answer-tokens (48)" in result.stderr


def test_a_regex_that_matches_nothing_and_a_model_that_cannot_think_are_said(work: Path):
    result = invoke("q.jsonl", "--limit", "1", "--answer-regex", "xyz(.*)", "--method", "standard")
    assert "--answer-regex matches no reply" in result.stderr
    result = invoke("q.jsonl", "--limit", "1", "--thinking", "on", "--method", "standard")
    assert "no model thought, although --thinking is on" in result.stderr
    assert "thought" not in invoke("q.jsonl", "--limit", "1", "--method", "standard").stderr
