"""Endpoints that flood, drip, bomb, lie or fall silent: what they cost in time and memory, and what is said of them."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hostile_server
import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint import concurrency
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.errors import LmcotError, RowError

Assault = Callable[..., Any]
Connect = Callable[..., EndpointBackend]

SLOW = float(os.environ.get("LMCOT_SLOWNESS", "4"))
"""By how much this machine may be slower than a quiet one: others work on it, too."""
MIB_MORE = 64.0
IN_FLIGHT = 64
ALL = sorted(hostile_server.ATTACKS)
HARMLESS = ("cookies",)
OF_TOO_MANY_VALUES = ("comments", "intricate")
FIVE = ("gib-unannounced", "gzip-bomb", "dripping", "endless-headers", "never-closing")
EVERY_ONE = bool(os.environ.get("LMCOT_ATTACKS"))
BY_COMMAND = FIVE if EVERY_ONE else FIVE[:1]
IN_NUMBERS = ALL if EVERY_ONE else (*FIVE, *HARMLESS, "informational", "intricate", "one-byte-chunks")


def memory(name: str, pid: int | str = "self") -> float:
    """Return a figure of a process's memory, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


@pytest.fixture
def extra() -> Iterator[Callable[[], float]]:
    """Return how many MiB this process has taken at most beyond what it had at first."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("nothing says here how much memory was taken at most")
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    yield lambda: memory("VmHWM") - before


def left_open(server: Any) -> int:
    """Return how many connections a server has, after it had the time to see which are closed."""
    end = time.monotonic() + SLOW
    while (count := server.seen().open) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    return int(count)


@pytest.mark.parametrize("attack", [name for name in ALL if name not in HARMLESS])
def test_an_endpoint_that_attacks_at_once_is_one_line_in_time(
    assault: Assault, connect: Connect, extra: Callable[[], float], attack: str
) -> None:
    url = assault(attack, spare_list=False).url
    began = time.monotonic()
    with pytest.raises(LmcotError) as caught:
        connect(url, request_timeout=0.5, total_timeout=1.5)
    assert time.monotonic() - began < 1.5 + 2 * SLOW
    assert extra() < MIB_MORE
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("attack", IN_NUMBERS)
def test_calls_in_flight_take_no_longer_than_they_may_and_little_memory(
    assault: Assault,
    connect: Connect,
    extra: Callable[[], float],
    monkeypatch: pytest.MonkeyPatch,
    attack: str,
) -> None:
    monkeypatch.setattr(concurrency, "START", IN_FLIGHT)
    server = assault(attack, good=1)
    backend = connect(server.url, request_timeout=1.0, total_timeout=2.0, max_in_flight=IN_FLIGHT)
    began = time.monotonic()
    try:
        replies = backend.complete([Request(f"{i}", i) for i in range(IN_FLIGHT)], Sampling())
    except LmcotError as error:
        assert "fails every call" in str(error)
        replies = []
    backend.close()
    assert time.monotonic() - began < 3.0 + 2 * SLOW
    assert extra() < MIB_MORE
    kind = Completion if attack in HARMLESS else RowError
    assert all(isinstance(reply, kind) for reply in replies)
    if attack in OF_TOO_MANY_VALUES:
        assert sum("more values than any completion has" in str(reply) for reply in replies) == IN_FLIGHT
    assert attack in HARMLESS or server.seen().most_at_once > IN_FLIGHT // 2
    assert left_open(server) == 1  # that which asks


@pytest.mark.parametrize("attack", ["gib-unannounced", "gzip-bomb"])
def test_256_calls_in_flight_keep_to_the_bound_that_is_stated(
    assault: Assault,
    connect: Connect,
    extra: Callable[[], float],
    monkeypatch: pytest.MonkeyPatch,
    attack: str,
) -> None:
    """Twice 16 MiB, and 0.4 MiB for each connection: not 256 times 16 MiB."""
    monkeypatch.setattr(concurrency, "START", 256)
    server = assault(attack, good=1)
    backend = connect(server.url, request_timeout=1.5, total_timeout=2.0, max_in_flight=256)
    with suppress(LmcotError):  # whether all calls fail in time or each row is refused depends on the machine
        backend.complete([Request(f"{i}", i) for i in range(256)], Sampling())
    backend.close()
    assert server.seen().most_at_once > 64
    assert extra() < 2 * 16 + 256 * 0.4


@pytest.mark.parametrize("seconds", ["1e308", "99999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_nobody_waits_longer_than_a_request_may_take_because_the_endpoint_says_so(
    answering: Callable[..., str], connect: Connect, seconds: str
) -> None:
    asked = list[bytes]()

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked.append(body)
        if len(asked) <= 2:
            return 200, {}, hostile_server.good_body()
        return 429, {"retry-after": seconds}, b"{}"

    backend = connect(answering(answer), total_timeout=2.0)
    began = time.monotonic()
    with suppress(LmcotError):
        replies = backend.complete([Request(f"{i}", i) for i in range(30)], Sampling())
        assert all(isinstance(reply, RowError) for reply in replies)
    assert time.monotonic() - began < 2.0 + 2 * SLOW


def test_connections_of_calls_that_took_too_long_are_closed_at_once(
    assault: Assault, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "START", 8)
    server = assault("dripping", good=1)
    backend = connect(server.url, request_timeout=0.5, total_timeout=0.6)
    backend.complete([Request(f"{i}", i) for i in range(8)], Sampling())
    assert left_open(server) <= 2  # the client is not closed; one may be kept of the probe


def test_an_endpoint_with_a_slow_list_is_asked_all_the_same(
    answering: Callable[..., str], connect: Connect
) -> None:
    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/models"):
            time.sleep(1.0)
        return 200, {}, hostile_server.good_body()

    (reply,) = connect(answering(answer), request_timeout=0.4).complete([Request("a", 0)], Sampling())
    assert isinstance(reply, Completion)


def test_no_cookie_is_kept(assault: Assault, connect: Connect) -> None:
    server = assault("cookies")
    backend = connect(server.url)
    for seed in range(3):
        backend.complete([Request("a", seed)], Sampling())
    assert "cookie" not in server.seen().headers


def test_a_larger_reply_may_be_allowed(answering: Callable[..., str], connect: Connect) -> None:
    large = hostile_server.good_body() + b" " * (3 * 2**19)
    url = answering(lambda *_: (200, {}, large))
    with pytest.raises(LmcotError, match=r"answered 200: a reply of more than 1 MiB \(--max-reply-mib"):
        connect(url, max_reply_mib=1)
    connect(url, max_reply_mib=2)


COMMAND = """
import sys
from lmcot_cli.backends.endpoint import concurrency
concurrency.START = int(sys.argv.pop(1))
from lmcot_cli.__main__ import main
main()
"""
"""`lmcot`, with as many calls in flight from the first as there would be after some rows."""


@pytest.mark.parametrize("attack", BY_COMMAND)
def test_the_command_ends_in_time_and_takes_little_more_memory(
    assault: Assault, tmp_path: Path, attack: str
) -> None:
    rows = ({"id": f"q{i}", "question": f"Where is {i}?", "context": "Here."} for i in range(IN_FLIGHT))
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    peaceful, _ = _peak_and_seconds(assault(attack, good=10**6), tmp_path)
    server = assault(attack, good=1)
    peak, seconds = _peak_and_seconds(server, tmp_path)
    assert server.seen().most_at_once == IN_FLIGHT
    assert peak - peaceful < MIB_MORE
    assert seconds < 6.0 + 2 * SLOW


def _peak_and_seconds(server: Any, folder: Path) -> tuple[float, float]:
    """Run the command; return its most memory in MiB, and its seconds since the first attack."""
    words = [sys.executable, "-c", COMMAND, str(IN_FLIGHT), "answer", "q.jsonl", "--method", "standard"]
    words += ["--large", f"{server.url}#m", "--request-timeout", "2", "--total-timeout", "4", "--quiet"]
    environment = os.environ | {"OPENAI_API_KEY": ""}
    began: float | None = None
    peak = 0.0
    with subprocess.Popen(
        words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stderr is not None
        said: list[bytes] = []
        reader = threading.Thread(target=lambda: said.append(process.stderr.read()))  # type: ignore[union-attr]
        reader.start()
        while process.poll() is None:
            try:
                peak = max(peak, memory("VmHWM", process.pid))
            except (OSError, StopIteration):
                break  # it has just ended
            if began is None and server.seen().attacked:
                began = time.monotonic()
            time.sleep(0.02)
        process.wait()
        ended = time.monotonic()
        reader.join()
    assert process.returncode in (0, 1)
    assert b"Traceback" not in said[0]
    return peak, ended - (ended if began is None else began)
