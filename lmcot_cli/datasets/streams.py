"""The bytes of a source, decompressed and in UTF-8."""

from __future__ import annotations

import codecs
import gzip
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from lmcot_cli.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STDIN = Path("-")
PEEKED = 2**16
"""Bytes that are examined to tell what a file is."""

_log = logging.getLogger(__name__)
_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_NO_TEXT = {b"GGUF": "a model", b"%PDF": "a PDF", b"\x89PNG": "a picture"}
_PACKED = {b"PK\x03\x04": "a zip archive", b"BZh": "compressed by bzip2", b"\xfd7zXZ": "compressed by xz"}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def source_name(source: Path | BinaryIO) -> str:
    """Return the name of a source for messages, the `FILE` of `FILE:LINE:`."""
    if isinstance(source, Path):
        return "standard input" if source == STDIN else str(source)
    return str(getattr(source, "name", "standard input"))


@contextmanager
def opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    """Open a source; its text is decompressed (gzip, Zstandard) and in UTF-8.

    Raises:
        OSError: It cannot be opened or read.
        InputError: It is a device, is compressed in another way, or is no text.
        MissingExtraError: The library that decompresses it is not installed.
    """
    with ExitStack() as stack:
        stream = source if not isinstance(source, Path) else stack.enter_context(_open(source))
        yield _in_utf8(_unpacked(stream, stack, source_name(source)), stack, source_name(source))


def _open(source: Path) -> BinaryIO:
    if source == STDIN:
        return _standard_input()
    if source.is_char_device() and not Path("/dev/null").samefile(source):  # other devices never end
        raise InputError(f"{source}: is a device: give a file, or - for standard input")
    return source.open("rb", PEEKED)


def _standard_input() -> BinaryIO:
    """Open standard input anew: a thread that waits in Python's own stream would abort the process at its end."""
    try:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except (OSError, ValueError):  # a substitute without a file behind it
        return io.BufferedReader(_Unowned(sys.stdin.buffer))


class _Unowned(io.RawIOBase):
    """A stream that its owner closes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


def head_of(stream: BinaryIO) -> bytes:
    """Return the first bytes of a stream without consuming them; none if the stream cannot do that."""
    return stream.peek(PEEKED) if isinstance(stream, io.BufferedReader) else b""


def _unpacked(stream: BinaryIO, stack: ExitStack, name: str) -> BinaryIO:
    head = head_of(stream)
    if head.startswith(_GZIP):
        return _buffered(stack.enter_context(gzip.GzipFile(fileobj=stream)), stack)
    if head.startswith(_ZSTANDARD):
        return _buffered(_zstandard(stream, name), stack)
    if head and not head.strip(b"\0"):
        raise InputError(f"{name}: begins with {len(head):,} zero bytes: it is not a file of JSON or CSV")
    for magic, what in _PACKED.items():
        if head.startswith(magic):
            raise InputError(f"{name}: is {what}: decompress it first")
    for magic, what in _NO_TEXT.items():
        if head.startswith(magic):
            raise InputError(f"{name}: is {what}, not a file of JSON or CSV: give the file with the rows")
    return stream


def _zstandard(stream: BinaryIO, name: str) -> io.RawIOBase:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError(f"{name}: reading Zstandard", "data") from error
    return cast("io.RawIOBase", pyarrow.CompressedInputStream(stream, "zstd"))


def _buffered(raw: object, stack: ExitStack) -> io.BufferedReader:
    return stack.enter_context(io.BufferedReader(cast("io.RawIOBase", raw), PEEKED))


def _in_utf8(stream: BinaryIO, stack: ExitStack, name: str) -> BinaryIO:
    encoding = _encoding_of(head_of(stream))
    if encoding is None:
        return stream
    _say_once(
        f"{name}: is {encoding.upper()} and is read as that; for other programs:"
        f" iconv -f {encoding[:6].upper()} -t UTF-8"
    )
    return _buffered(_Utf8(stream, encoding), stack)


@lru_cache(maxsize=256)
def _say_once(message: str) -> None:
    """Warn about a file once, even if it is read several times."""
    _log.warning("%s", message)


def _encoding_of(head: bytes) -> str | None:
    """Recognise UTF-16 and UTF-32 by their mark, or UTF-16 by the zero in every other byte of ASCII."""
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    zeros = [byte == 0 for byte in head[:4]]
    little, big = zeros == [False, True] * 2, zeros == [True, False] * 2
    return marked or ("utf-16-le" if little else "utf-16-be" if big else None)


class _Utf8(io.RawIOBase):
    """A stream of another encoding as UTF-8. Invalid characters become bytes that are not UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        while not self._left and (data := self._stream.read(PEEKED)):
            self._left = self._decoder.decode(data).encode("utf-8", "surrogatepass")
        if not self._left and self._decoder.getstate()[0]:  # half a character at the end
            self._decoder.reset()
            self._left = b"\xff"
        data, self._left = self._left[: len(view)], self._left[len(view) :]
        view[: len(data)] = data
        return len(data)
