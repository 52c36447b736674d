"""Measure `lmcot answer` with a small LM here and a large one behind an endpoint, by hand: `--help`.

A scripted small LM takes a stated time for each rationale, one after another as a computing one would, and the fault
server is the large LM. If both are kept busy, the run takes as long as the slower of them takes alone.

python measure_overlap.py --rows 2000 --samples 4 --latency 0.2 --room 64 --small-seconds 0.0025
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fault_server import MODEL, Setup, running


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds a reply of the large LM takes")
    parser.add_argument("--room", type=int, default=64, help="calls the large LM works on at once")
    parser.add_argument("--small-seconds", type=float, default=0.0025, help="seconds a rationale takes")
    return parser.parse_args()


def write_rows(path: Path, rows: int) -> None:
    """Write questions with contexts of a thousand characters."""
    with path.open("w") as file:
        for number in range(rows):
            row = {"id": f"r{number}", "question": f"Which is number {number}?", "context": "x" * 1000}
            file.write(json.dumps(row) + "\n")


def write_script(path: Path, rationales: int, seconds: float) -> None:
    """Write rationales that all differ, for equal ones of a row would be answered once."""
    with path.open("w") as file:
        for number in range(rationales):
            file.write(json.dumps({"text": f"Because of {number}.", "seconds": seconds}) + "\n")


def check(output: Path, given: argparse.Namespace) -> None:
    """Make sure that every row is there once and has all its answers."""
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert [result["id"] for result in results] == [f"r{number}" for number in range(given.rows)]
    assert all(len(result["samples"]) == given.samples and not result["error"] for result in results)
    assert all(sample["answer"] for result in results for sample in result["samples"])


def report(large: float, small: float, asked: float, whole: float) -> None:
    """Print how long the models would take alone, and how long the run took."""
    slower = max(large, small)
    print(f"alone: large LM {large:.1f} s, small LM {small:.1f} s; one after the other {large + small:.1f} s")
    print(f"first call to last answer: {asked:.1f} s, {asked / slower:.2f} times the slower one")
    print(f"with start and end of the program: {whole:.1f} s, {whole / slower:.2f} times")


def main() -> None:
    """Measure once, and print what was seen."""
    given = arguments()
    calls = given.rows * given.samples
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Setup(latency=given.latency, room=given.room)) as server,
    ):
        rows, script, output = (Path(folder) / name for name in ("rows.jsonl", "script.jsonl", "out.jsonl"))
        write_rows(rows, given.rows)
        write_script(script, calls, given.small_seconds)
        words = [sys.executable, "-m", "lmcot_cli", "answer", str(rows), "-o", str(output), "--stop", "none"]
        words += ["--samples", str(given.samples), "--small", f"scripted:{script}"]
        started = time.monotonic()
        subprocess.run([*words, "--large", f"{server.url}#{MODEL}"], check=True)
        seconds = time.monotonic() - started
        stats = server.stats()
        check(output, given)
    report(
        calls * given.latency / given.room,
        calls * given.small_seconds,
        stats.seconds + given.latency,
        seconds,
    )
    print(stats)


if __name__ == "__main__":
    main()
