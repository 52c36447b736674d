"""Measure `lmcot answer` behind an endpoint that leaves some calls without any reply, by hand: `--help`.

The same rows are answered twice, from a server whose calls fail in six ways and from one that is silent besides.

python measure_silence.py --rows 1500 --silent 0.03
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from fault_server import MODEL, SIX_FAULTS, Setup, running


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--silent", type=float, default=0.03, help="share of calls that are never answered")
    parser.add_argument("--latency", type=float, default=0.01, help="seconds a reply takes")
    parser.add_argument("--method", default="guided", help="guided asks the endpoint for both stages")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def write_rows(path: Path, rows: int) -> None:
    """Write questions with contexts of a thousand characters."""
    with path.open("w") as file:
        for number in range(rows):
            row = {"id": f"r{number}", "question": f"Which is number {number}?", "context": "x" * 1000}
            file.write(json.dumps(row) + "\n")


def answer(rows: Path, setup: Setup, method: str) -> float:
    """Run the command; make sure that every row is there once and right; return its seconds."""
    output = rows.with_name("out.jsonl")
    with running(setup) as server:
        spec = f"{server.url}#{MODEL}"
        words = ["answer", str(rows), "-o", str(output), "--overwrite", "--method", method]
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "lmcot_cli", *words, "--large", spec, "--small", spec], check=True
        )
        seconds = time.monotonic() - started
        print(server.stats())
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert [one["id"] for one in results] == [
        json.loads(line)["id"] for line in rows.read_text().splitlines()
    ]
    assert all(one["error"] is None and one["answer"].startswith("reply ") for one in results)
    assert len({one["answer"] for one in results}) == len(results), "no row has the reply of another"
    return seconds


def main() -> None:
    """Measure both, and print the ratio."""
    given = arguments()
    setup = replace(SIX_FAULTS, latency=given.latency, seed=given.seed)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        write_rows(rows, given.rows)
        without = answer(rows, setup, given.method)
        print(f"without silence: {without:.1f} s", flush=True)
        silent = answer(rows, replace(setup, silent=given.silent), given.method)
    print(f"with {given.silent:.0%} never answered: {silent:.1f} s, {silent / without:.2f} times")


if __name__ == "__main__":
    main()
