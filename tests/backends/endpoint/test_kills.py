"""Kill -9 while an endpoint answers: every row is there once in the end, and no finished request is asked again.

LMCOT_KILLS=50 kills fifty times; CI does it less often.
"""

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

KILLS = int(os.environ.get("LMCOT_KILLS", "6"))
ROWS = 150 * KILLS


def start(folder: Path, url: str) -> subprocess.Popen[bytes]:
    words = [
        "answer", "q.jsonl", "--method", "standard", "--large", f"{url}#m", "-o", "out", "--reply-cache",
        "cache.sqlite", "--max-in-flight", "8", "--quiet",
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "lmcot_cli", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finished(folder: Path) -> int:
    """Count the rows that the output holds."""
    out = folder / "out"
    return out.read_bytes().count(b"\n") if out.exists() else 0


def wait_for(folder: Path, rows: int, running: subprocess.Popen[bytes]) -> None:
    """Wait until the output holds so many rows, or the process has ended."""
    deadline = time.monotonic() + 60
    while finished(folder) < rows and running.poll() is None:
        assert time.monotonic() < deadline, "the run writes nothing"
        time.sleep(0.002)


def test_killed_at_random_moments_no_row_is_lost_and_none_paid_for_twice(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    server = serve(latency=0.01)
    rows = [{"id": f"q{i}", "question": f"Who is {i}?", "context": "c"} for i in range(ROWS)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    moments, kills = random.Random(5), 0
    while kills < KILLS:
        before = finished(tmp_path)
        running = start(tmp_path, server.url)
        wait_for(tmp_path, before + moments.randrange(1, 60), running)
        time.sleep(moments.uniform(0, 0.02))
        if running.poll() is None:
            running.kill()
            kills += 1
        _, errors = running.communicate()
        assert running.returncode in (0, -signal.SIGKILL), errors
        assert finished(tmp_path) > before
        if running.returncode == 0:
            break  # this process was held up for so long
    last = start(tmp_path, server.url)
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    kept = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]

    assert kills
    assert [record["id"] for record in kept] == [row["id"] for row in rows]
    assert all(record["error"] is None for record in kept)
    # What was in flight when a session was killed may be asked again, 8 calls each time; and each session probes.
    asked = server.stats().requests
    assert asked <= ROWS + kills * 8 + 3 * (kills + 2)
