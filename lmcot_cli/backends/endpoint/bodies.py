"""Read the bodies of replies within limits, whatever an endpoint sends.

The bodies of all calls in flight together take at most twice the bytes that one may have: up to that number in common,
and as much again for one at a time that finds those taken. So reading never comes to a standstill, and a body of full
size always fits. What was read is handed on one by one, so that one body at a time is parsed. Beside that, a
connection holds at most what the library reads at once, some 400 KiB.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Protocol, Self

ERROR_BYTES = 64 * 1024
"""Bytes that are read of a reply that is an error: its words stand at its beginning."""
MOST_HEADERS = 256
ENCODING = "gzip"
"""The one compression that is asked for; zlib gives it out in pieces, so what would be vast is noticed in time."""

MOST_MARKS = 2**19
"""JSON's brackets, commas and colons, and ends of lines, in one body: Python makes an object of what stands between
them, of up to a hundred bytes. Log-probabilities have about 11 a token, so those of 47,000 tokens fit."""

_LARGE = 64 * 1024
"""Bytes from which on a body is handed on by itself."""
_PIECE = 16 * 1024
"""Bytes that are decompressed at once: each call that waits for room holds one such piece."""
_SLICE = 4 * 1024
"""Compressed bytes that zlib gets at once: it copies those that it has not used after each piece."""
_SHOWN = 40
_TURN_SECONDS = 0.002
"""Seconds of work on one body after which the other calls have their turn, and their clocks are looked at."""


class Streamed(Protocol):
    """A reply of which the head has come."""

    @property
    def status_code(self) -> int:
        """Return its HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Return its headers, names in any case."""
        ...

    def aiter_raw(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes."""
        ...


class BodyError(Exception):
    """A body that is not read to its end.

    Attributes:
        final: Whether the same call, sent again, would most likely end in the same way.
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class Bodies:
    """Reads bodies, each up to a bound of its own and all together up to twice that.

    Args:
        most: Bytes that one may have, decompressed.
    """

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._beyond, self._finished = asyncio.Lock(), asyncio.Lock()

    async def read(self, response: Streamed) -> bytes:
        """Return the body of a reply, decompressed; of an error the beginning is enough.

        Raises:
            BodyError: It is too large, holds too many values, is compressed in another way than asked for, or torn.
        """
        _check_head(response)
        if 200 <= response.status_code < 300:
            return await self._whole(response)
        return await _beginning(response)

    async def _whole(self, response: Streamed) -> bytes:
        if _announced(response) > self._most:
            raise self._too_large()
        marks = 0
        async with _Share(self) as share, aclosing(_pieces(response)) as pieces:
            async for piece in pieces:
                if len(share.body) + len(piece) > self._most:
                    raise self._too_large()
                marks += marks_in(piece)
                if marks > MOST_MARKS:
                    raise BodyError("a reply of more values than any completion has", final=True)
                await share.add(piece)
            if len(share.body) > _LARGE:
                async with self._finished:
                    await asyncio.sleep(0)
            return bytes(share.body)

    def _too_large(self) -> BodyError:
        size = self._most // 2**20
        return BodyError(f"a reply of more than {size} MiB (--max-reply-mib allows larger ones)", final=True)


class _Share:
    """One body as it grows, and what it takes of the memory for all."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies, self._taken, self._beyond = bodies, 0, False
        self.body = bytearray()

    async def add(self, piece: bytes) -> None:
        """Add a piece to the body, after waiting until there is room for it."""
        size = len(piece)
        if not self._beyond and size > self._bodies._free:
            await self._bodies._beyond.acquire()
            self._beyond = True
        if not self._beyond:
            self._bodies._free -= size
            self._taken += size
        self.body += piece

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.body.clear()  # Else it would live as long as an error does whose traceback leads here.
        self._bodies._free += self._taken
        if self._beyond:
            self._bodies._beyond.release()


def marks_in(piece: bytes) -> int:
    """Return how many values a piece of a body may hold; what is in strings counts, too."""
    return len(piece) - len(
        piece.translate(None, b"[{,:\n")
    )  # a quarter of the time that counting each takes


async def _beginning(response: Streamed) -> bytes:
    """Return the beginning of a body."""
    body = bytearray()
    with suppress(BodyError):
        async with aclosing(_pieces(response)) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) >= ERROR_BYTES:
                    break
    return bytes(body[:ERROR_BYTES])


async def _pieces(response: Streamed) -> AsyncGenerator[bytes, None]:
    """Yield a body in small pieces, decompressed, and let others have their turn now and then."""
    decoder = _decoder(response)
    since = time.monotonic()
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            for piece in decoder.feed(chunk):
                yield piece
                if time.monotonic() - since > _TURN_SECONDS:
                    await asyncio.sleep(0)
                    since = time.monotonic()
    decoder.end()


class _Plain:
    """Gives a body out as it comes."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk brings."""
        yield chunk

    def end(self) -> None:
        """Take note of the body's end."""


class _Gzip(_Plain):
    """Decompresses a body, a small piece at a time."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        for start in range(0, len(chunk), _SLICE):
            yield from self._inflated(chunk[start : start + _SLICE])

    def _inflated(self, compressed: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = self._zlib.decompress(compressed, _PIECE)
            except zlib.error:
                raise BodyError("the reply is no gzip, though it says so") from None
            compressed = self._zlib.unconsumed_tail
            if piece:
                yield piece
            if not compressed and len(piece) < _PIECE:
                return

    def end(self) -> None:
        if not self._zlib.eof:
            raise BodyError("the compressed reply broke off")


def _decoder(response: Streamed) -> _Plain:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return _Plain()
    if encoding in ("gzip", "x-gzip"):
        return _Gzip()
    raise BodyError(f"the reply is compressed in a way that was not asked for ({encoding[:_SHOWN]!r})")


def _check_head(response: Streamed) -> None:
    if len(response.headers) > MOST_HEADERS:
        raise BodyError(f"the reply has more than {MOST_HEADERS} headers")


def _announced(response: Streamed) -> int:
    """Return the length that a reply says it has; 0 where it says nothing."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
