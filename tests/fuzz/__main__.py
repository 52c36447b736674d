"""Fuzz what reads other people's bytes, guided by coverage (atheris): `make fuzz`, or

    python -m tests.fuzz --seconds 60                  every target, a minute each
    python -m tests.fuzz --seconds 600 thinking rows   some of them

Inputs that reached something new are kept in `runs/fuzz/TARGET`, those that broke something in `runs/fuzz/found`; a
finding becomes a seed of its target, or a test of the module that it is in. Give its file to see it again:

    python -m tests.fuzz thinking runs/fuzz/found/crash-...
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import warnings
from hashlib import sha1
from pathlib import Path
from random import Random

KEPT = Path("runs/fuzz")
OPTIONS = ("-timeout=300", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1", "-verbosity=0")


def main() -> int:
    """Fuzz targets one after the other, each in a process of its own; return how many broke."""
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz")
    arguments.add_argument("words", nargs="*", metavar="TARGET or FILE")
    arguments.add_argument("--seconds", type=int, default=60, help="time for each target")
    given = arguments.parse_args()
    from tests.fuzz.targets import TARGETS

    names = [word for word in given.words if word in TARGETS]
    files = [word for word in given.words if word not in TARGETS]
    if [word for word in files if not Path(word).is_file()] or (files and not names):
        arguments.error(f"name targets, and files to try them on; there are {', '.join(TARGETS)}")
    command = [sys.executable, "-m", "tests.fuzz", "--one"]
    broken = [
        name
        for name in names or TARGETS
        if subprocess.run([*command, name, str(given.seconds), *files], check=False).returncode
    ]
    print(f"broken: {', '.join(broken) or 'none'}", file=sys.stderr)
    return len(broken)


def fuzz(name: str, seconds: str, files: list[str]) -> None:
    """Fuzz one target until its time is over or it breaks."""
    import atheris

    with atheris.instrument_imports(include=["lmcot_cli", "lmcot_train", "lmcot_export"]):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.mutation import restructured
    from tests.fuzz.target import attempt

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        other = restructured(data, Random(seed)) if seed % 3 == 0 else None
        return atheris.Mutate(data, longest) if other is None else other[:longest]

    warnings.simplefilter("error")
    logging.disable()
    target, corpus, found = TARGETS[name], KEPT / name, KEPT / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    for seed in target.seeds:
        (corpus / sha1(seed).hexdigest()).write_bytes(seed)
    where = files or [f"-max_total_time={seconds}", str(corpus)]
    atheris.Setup(
        [name, *OPTIONS, f"-artifact_prefix={found}/{name}-", *where],
        lambda data: attempt(target, data),
        custom_mutator=mutate,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.exit(main())
