"""Ctrl-C and SIGTERM to a real `lmcot answer`: it ends in time, and the same command goes on from there."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LMCOT = (sys.executable, "-m", "lmcot_cli", "answer")
REAL_ROWS = os.environ.get("LMCOT_STOPS_ROWS")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with forty questions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    rows = [{"id": f"q{i}", "question": f"Where is {i}?", "context": "Here."} for i in range(40)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def script(path: str, **seconds: float) -> str:
    """Write a script in which a prompt that holds a name takes its seconds, and others none."""
    lines = [
        {"match": name.replace("_", " "), "text": "T.", "seconds": value} for name, value in seconds.items()
    ]
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"match": "", "text": "S."}]))
    return f"scripted:{path}"


def start(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([*LMCOT, *words], **pipes)


def wait_for(found: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not found() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


def interrupt(
    running: subprocess.Popen[bytes], sent: signal.Signals = signal.SIGINT, within: float = 12
) -> list[str]:
    """Send a signal; return what the process says before it ends."""
    running.send_signal(sent)
    begun = time.monotonic()
    _, said = running.communicate(timeout=60)
    assert time.monotonic() - begun < within
    assert b"Traceback" not in said
    return said.decode().splitlines()


def finish(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*LMCOT, *words], capture_output=True, timeout=300)


def test_rows_without_a_reply_stop_at_once_and_the_same_command_goes_on(work: Path):
    words = ("q.jsonl", "-o", "out", "--small", script("small", Where_is_5=60), "--large", script("large"))
    running = start(*words)
    wait_for(lambda: len(lines(work / "out")) == 5, running)
    time.sleep(0.3)
    said = interrupt(running, within=4)
    done = len(lines(work / "out"))
    script("small")
    Path("small").write_text(Path("small").read_text())  # another digest would be another model

    assert running.returncode == 130
    assert said[-1].startswith(f"stopped: {done} rows written")
    assert "continue with: lmcot answer q.jsonl -o out" in said[-1]
    assert done == 5


def test_a_row_that_is_nearly_done_is_finished_and_said_to_be(work: Path):
    words = ("q.jsonl", "-o", "out", "--small", script("small"), "--large", script("large", Where_is=0.7))
    running = start(*words)
    wait_for(lambda: len(lines(work / "out")) == 2, running)
    said = interrupt(running)
    kept = [json.loads(line)["id"] for line in lines(work / "out")]

    assert running.returncode == 130
    assert said[0].startswith("finishing ")
    assert "s; Ctrl-C again to stop now" in said[0]
    assert kept == [f"q{i}" for i in range(len(kept))]
    assert len(kept) >= 3
    assert json.loads((work / "out.run.json").read_text())["finished"] is False


def test_with_no_time_to_finish_everything_under_way_is_dropped(work: Path):
    words = ("q.jsonl", "-o", "out", "--small", script("small"), "--large", script("large", Where_is=5))
    running = start(*words, "--finish-within", "0")
    wait_for(lambda: (work / "out.run.json").exists(), running)
    time.sleep(0.5)
    said = interrupt(running, within=4)

    assert [line.split(" written")[0] for line in said] == ["stopped: 0 rows"]


def test_the_time_to_finish_is_kept_to(work: Path):
    words = ("q.jsonl", "-o", "out", "--small", script("small"), "--large", script("large", Where_is=30))
    running = start(*words, "--finish-within", "2")
    wait_for(lambda: (work / "out.run.json").exists(), running)
    time.sleep(1)
    said = interrupt(running, within=6)

    assert said[0] == "finishing 1 row, at most 2 s; Ctrl-C again to stop now"
    assert running.returncode == 130


def test_a_second_signal_stops_now(work: Path):
    words = ("q.jsonl", "-o", "out", "--small", script("small"), "--large", script("large", Where_is=30))
    running = start(*words)
    wait_for(lambda: (work / "out.run.json").exists(), running)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    time.sleep(0.5)
    said = interrupt(running, within=3)

    assert said[-1].startswith("stopped: 0 rows written")
    assert running.returncode == 130


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_schedulers_and_closing_terminals_are_heard_as_ctrl_c_is(
    work: Path, sent: signal.Signals, status: int
):
    words = ("q.jsonl", "-o", "out", "--small", script("small"), "--large", script("large", Where_is=0.5))
    running = start(*words)
    wait_for(lambda: len(lines(work / "out")) == 2, running)
    said = interrupt(running, sent)

    assert running.returncode == status
    assert said[0].endswith(f"; received {sent.name}, another signal stops now")
    assert said[-1].startswith(f"stopped: {len(lines(work / 'out'))} rows written to out")


def test_a_run_that_finishes_its_last_rows_is_finished(work: Path):
    words = ("q.jsonl", "-o", "out", "--small", script("small"), "--large", script("large", Where_is=0.7))
    running = start(*words, "--limit", "3")
    wait_for(lambda: len(lines(work / "out")) == 2, running)
    said = interrupt(running)

    assert running.returncode == 0
    assert said[-1].startswith("answered 3 of 3 rows")
    assert json.loads((work / "out.run.json").read_text())["finished"] is True


def test_rows_done_behind_one_that_is_not_are_kept_and_not_asked_for_again(work: Path):
    seconds = dict.fromkeys(("Where_is_0?", "Where_is_1?", "Where_is_2?"), 0.0) | {"Where_is_3?": 3.0}
    small = script("small")
    large = script("large", **{name: value for name, value in seconds.items() if value})
    words = ("q.jsonl", "-o", "out", "--small", small, "--large", large)
    # The first model has given all its replies before the second one is asked: row 3 is first in its turn, the
    # others are done while it waits only where they are served; so a row's reply is dropped by hand.
    from lmcot_cli.pipeline.answer import AnswerRun
    from lmcot_cli.pipeline.options import AnswerOptions

    run = AnswerRun(work / "q.jsonl", AnswerOptions(small=small, large=large), work / "out")
    results = run.results()
    next(results)
    assert run._flow is not None
    while not any(job.done for job in list(run._flow._jobs)[1:]):
        next(results)
    front = run._flow._jobs[0]
    front.done = False
    behind = [job.item.id for job in list(run._flow._jobs)[1:] if job.done]
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)

    assert run.session.kept_ahead == len(behind) > 0
    kept = (work / ".out.ahead").read_bytes().splitlines()[1:]
    assert [json.loads(line)["id"] for line in kept] == behind
    assert finish(*words).returncode == 0
    assert [json.loads(line)["id"] for line in lines(work / "out")] == [f"q{i}" for i in range(40)]
    assert set(kept) <= set(lines(work / "out"))
    assert not (work / ".out.ahead").exists()


STANDSTILLS = {
    "a pipe that never sends": ("-", {"stdin": subprocess.PIPE}),
    "a terminal or reader that does not read": ("big.jsonl", {}),
}


@pytest.mark.parametrize("name", STANDSTILLS)
def test_standing_still_is_no_reason_not_to_hear(work: Path, name: str):
    source, options = STANDSTILLS[name]
    rows = [{"id": f"q{i}", "question": "x" * 20_000, "context": "Here."} for i in range(40)]
    (work / "big.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    running = start(
        source, "--json", "--small", script("small"), "--large", script("large"), "--finish-within", "2",
        stdout=subprocess.PIPE, **options,
    )  # fmt: skip
    time.sleep(4)
    running.send_signal(signal.SIGINT)
    begun = time.monotonic()
    assert running.stdout is not None
    running.wait(timeout=12)
    took = time.monotonic() - begun
    running.communicate()

    assert running.returncode == 130
    assert took < 6


def test_at_random_moments_it_is_gone_in_time_and_the_resumed_output_is_the_same(
    work: Path, microhop: Callable[..., list[Any]]
):
    """The embedded pair, three samples; `LMCOT_STOPS` moments, of a run over `LMCOT_STOPS_ROWS` where that is given."""
    words = _real_run(work)
    assert finish(*words, "-o", "whole").returncode == 0
    whole, out = (work / "whole").read_bytes(), work / "out"
    moments = random.Random(11)
    for _ in range(int(os.environ.get("LMCOT_STOPS", "4"))):
        running = start(*words, "-o", "out")
        time.sleep(moments.uniform(0.5, float(os.environ.get("LMCOT_STOPS_SECONDS", "6"))))
        interrupt(running)
        assert whole.startswith(out.read_bytes() if out.exists() else b"")
        assert running.returncode in (0, 130)
    assert finish(*words, "-o", "out").returncode == 0

    assert out.read_bytes() == whole


def _real_run(work: Path) -> tuple[str, ...]:
    if REAL_ROWS is None:
        rows = finish_synth(work / "m.jsonl")
        return (str(rows), "--samples", "3", "--deterministic", "--threads", "1")
    model = os.environ["LMCOT_STOPS_MODEL"]
    limit = os.environ.get("LMCOT_STOPS_LIMIT", "20")
    return (
        REAL_ROWS, "--limit", limit, "--small", model, "--large", model, "--samples", "2", "--deterministic",
    )  # fmt: skip


def finish_synth(path: Path) -> Path:
    """Write thirty MicroHop questions."""
    command = [sys.executable, "-m", "lmcot_cli", "data", "synth", "--rows", "30", "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path
