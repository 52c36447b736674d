"""Fuzz what reads other people's bytes, guided by coverage (atheris); run by hand, where `pip install atheris` works.

    python tests/fuzz/coverage_guided.py rows -max_total_time=60
    python tests/fuzz/coverage_guided.py header -max_total_time=60

Whatever the bytes, rows are read or refused, and a GGUF header is read or refused; any other exception is a crash, and
atheris leaves the bytes that led to it.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lmcot_cli.datasets", "lmcot_cli.backends.llama"]):
    from lmcot_cli.backends.llama.gguf_header import read_header
    from lmcot_cli.backends.llama.header_checks import check_shape
    from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.errors import InputError, ModelError


def rows(data: bytes) -> None:
    """Read the bytes as a file of questions."""
    with suppress(InputError):
        list(read_rows(io.BytesIO(data)))


def header(data: bytes) -> None:
    """Read the bytes as a GGUF file."""
    SCRATCH.write_bytes(b"GGUF\x03\0\0\0" + data)
    with suppress(ModelError):
        check_shape(SCRATCH, read_header(SCRATCH))


TARGETS: dict[str, Callable[[bytes], None]] = {"rows": rows, "header": header}
SCRATCH = Path(tempfile.mkdtemp()) / "fuzzed.gguf"

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
