"""What a fuzz target is, and what every parser of untrusted bytes is held to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import NamedTuple
from zlib import crc32

from lmcot_cli.errors import LmcotError

LONGEST_MESSAGE = 5000
SECONDS, SECONDS_A_BYTE = 1.0, 120e-6
"""CPU time that an input may take. It is generous, for coverage is counted meanwhile, and still finds what grows with
the square of the input: that is what inputs are widened for."""

_WIDENED = 2**15
_ONE_IN = 64


class Target(NamedTuple):
    """A parser of untrusted input.

    Attributes:
        run: Parses the bytes and checks what must hold of what comes out. It may raise any `LmcotError`.
        seeds: Small inputs that it takes.
        widens: Whether it is tried on long inputs too, in which a part of a short one is repeated.
    """

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    widens: bool = True


def attempt(target: Target, data: bytes) -> None:
    """Run a target on an input: any other error than ours, and more than its time, is a failure."""
    if target.widens and crc32(data) % _ONE_IN == 0:
        data = widened(data)
    begin = process_time()
    try:
        target.run(data)
    except LmcotError as error:
        message = str(error)
        assert "\n" not in message and 0 < len(message) < LONGEST_MESSAGE, message
    took = process_time() - begin
    assert took < SECONDS + SECONDS_A_BYTE * len(data), (
        f"{took:.1f} s for {len(data):,} bytes: {data[:200]!r}"
    )


def widened(data: bytes) -> bytes:
    """Repeat a part of an input, which the input itself chooses, until it is 32 KiB long."""
    if not data:
        return data
    begin = crc32(data) // _ONE_IN % len(data)
    end = begin + 1 + crc32(data[::-1]) % min(len(data) - begin, 64)
    return data[:begin] + data[begin:end] * (_WIDENED // (end - begin)) + data[end:]


def text_of(data: bytes) -> str:
    """Read an input as text."""
    return data.decode("utf-8", "replace")


@contextmanager
def folder_of(**files: bytes) -> Iterator[Path]:
    """Make a folder of these files, `name_ending` for `name.ending`, for as long as it is used."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file.replace("_", ".")).write_bytes(content)
        yield folder
