"""Signals to real processes, whatever these are busy with."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """\
import ctypes, os, queue, signal, subprocess, sys, threading, time
from lmcot_cli.interrupts import *
from lmcot_cli.interrupts import exit_code, held, leave, leaving_at_once, listening, stopping
def say(text):
    os.write(2, text.encode() + b"\\n")
def busy():
    import hashlib
    hashlib.pbkdf2_hmac("sha512", b"x", b"y", 2**31 - 1)  # hours in C, deaf to all
with listening():
    try:
{body}
    except KeyboardInterrupt:
        say("interrupted")
        leave(exit_code())
    say("ended")
"""


def start(body: str, **options: object) -> subprocess.Popen[bytes]:
    """Start a program that says `ready` and then does something for long."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=lines)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )
    assert running.stderr is not None
    assert running.stderr.readline() == b"ready\n"
    time.sleep(0.2)
    return running


def ended(running: subprocess.Popen[bytes], within: float) -> tuple[int, list[bytes]]:
    begun = time.monotonic()
    assert running.stderr is not None
    said = running.stderr.read().splitlines()
    status = running.wait()
    assert time.monotonic() - begun < within
    for stream in (running.stdin, running.stdout, running.stderr):
        assert stream is not None
        stream.close()
    return status, said


WAITS = {
    "sleep": "time.sleep(60)",
    "a pipe that never sends": "sys.stdin.buffer.read()",
    "a queue": "queue.Queue().get()",
    "an event": "threading.Event().wait()",
    "another process": "subprocess.run(['sleep', '60'])",
    "a reader that does not read": "os.write(1, b'x' * 2**20)",
    "bytecode": "while True: pass",
    "a lock": "threading.Lock().acquire(); lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "C that can be interrupted": "ctypes.CDLL(None).sleep(60); time.sleep(60)",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_the_first_signal_is_heard_at_once(wait: str):
    running = start(f"say('ready'); {wait}" if "while" not in wait else f"say('ready')\n{wait}")
    running.send_signal(signal.SIGINT)

    assert ended(running, 3) == (130, [b"interrupted"])


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_every_signal_has_its_exit_code(sent: signal.Signals, status: int):
    running = start("say('ready'); time.sleep(60)")
    running.send_signal(sent)

    assert ended(running, 3)[0] == status


def test_c_that_hears_nothing_is_ended_all_the_same():
    running = start("say('ready'); busy()")
    running.send_signal(signal.SIGTERM)

    assert ended(running, 12) == (143, [b"stopped at once; what was written is kept"])


def test_c_that_hears_nothing_is_ended_soon_after_a_second_signal():
    running = start("say('ready'); busy()")
    running.send_signal(signal.SIGINT)
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)

    assert ended(running, 4) == (130, [b"stopped at once; what was written is kept"])


def test_a_third_signal_ends_it_at_once():
    running = start("say('ready'); busy()")
    for _ in range(3):
        running.send_signal(signal.SIGINT)
        time.sleep(0.1)

    assert ended(running, 1) == (130, [])


def test_what_stops_by_itself_is_not_interrupted_until_its_time_is_over():
    body = """\
def stop():
    say("stopping")
    return True
with stopping(stop, {patience}):
    say("ready")
    time.sleep({seconds})
"""
    in_time = start(body.format(patience=10, seconds=2))
    in_time.send_signal(signal.SIGINT)
    too_late = start(body.format(patience=1, seconds=60))
    too_late.send_signal(signal.SIGTERM)
    impatient = start(body.format(patience=10, seconds=60))
    impatient.send_signal(signal.SIGINT)
    time.sleep(0.3)
    impatient.send_signal(signal.SIGINT)

    assert ended(impatient, 3) == (130, [b"stopping", b"interrupted"])
    assert ended(too_late, 4) == (143, [b"stopping", b"interrupted"])
    assert ended(in_time, 6) == (0, [b"stopping", b"ended"])


def test_with_nothing_to_finish_it_is_interrupted():
    running = start("with stopping(lambda: False, 10): say('ready'); time.sleep(60)")
    running.send_signal(signal.SIGINT)

    assert ended(running, 3) == (130, [b"interrupted"])


def test_what_is_held_is_ended_first():
    running = start("with held(): say('ready'); time.sleep(1); say('written')\nsay('never')")
    running.send_signal(signal.SIGINT)

    assert ended(running, 4) == (130, [b"written", b"interrupted"])


def test_a_signal_ends_a_program_that_has_begun_nothing():
    running = start("with leaving_at_once(): say('ready'); busy2 = [time.sleep(0.01) for _ in range(6000)]")
    running.send_signal(signal.SIGINT)

    assert ended(running, 3) == (130, [])


def test_what_is_ignored_stays_ignored():
    """As under nohup, or in the background of a script."""
    running = start(
        "say('ready'); time.sleep(1)", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    running.send_signal(signal.SIGHUP)

    assert ended(running, 4) == (0, [b"ended"])


def test_a_forked_process_is_as_without_us():
    running = start(
        "pid = os.fork()\n"
        "if not pid:\n"
        "    signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "    time.sleep(30)\n"
        "    os._exit(1)\n"
        "time.sleep(1)\n"
        "say('ready')\n"
        "os.kill(pid, signal.SIGINT)\n"
        "say(str(os.WTERMSIG(os.waitpid(pid, 0)[1])))\n"
        "time.sleep(1)"
    )

    assert ended(running, 5) == (0, [b"2", b"ended"])


def test_a_signal_during_an_import_ends_it(tmp_path: Path):
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(60)\n")
    running = start(f"sys.path.insert(0, {str(tmp_path)!r})\nsay('ready')\nimport slow_module")
    running.send_signal(signal.SIGINT)

    assert ended(running, 3) == (130, [b"interrupted"])


def test_threads_that_wait_hold_up_nothing():
    running = start("threading.Thread(target=time.sleep, args=(60,)).start(); say('ready'); time.sleep(60)")
    running.send_signal(signal.SIGTERM)

    assert ended(running, 3) == (143, [b"interrupted"])


def test_others_are_told_from_another_thread_while_c_computes():
    running = start("with telling(lambda: say('told')): say('ready'); busy()")
    running.send_signal(signal.SIGINT)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)

    assert ended(running, 4)[1][:2] == [b"told", b"told"]
