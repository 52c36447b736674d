"""Read the bodies of replies within limits, whatever an endpoint sends.

The bodies of all calls in flight together take at most twice the bytes that one may have: they share one such amount,
and one body at a time that finds it used up may have as much again. So reading never comes to a standstill, and a body
of full size always fits. Large bodies are handed on one by one, so that one at a time is parsed. In addition, each
connection holds at most what the library reads at once, some 400 KiB.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from typing import Any, Protocol

ERROR_BYTES = 64 * 1024
"""Bytes that are read of an error: its message stands at the beginning."""
MOST_HEADERS = 256
ENCODING = "gzip"
"""The only compression that is asked for: zlib decompresses it in pieces, so a bomb is noticed in time."""

MOST_MARKS = 2**19
"""Brackets, commas, colons and line ends in one body: Python makes an object of up to a hundred bytes of what stands
between two of them. Log-probabilities have about 11 per token, so those of 47,000 tokens fit."""

_PIECE = 64 * 1024
_SHOWN = 40
_TURN_SECONDS = 0.002
"""Seconds of work on one body after which other calls, and their time-outs, get a turn."""


class Streamed(Protocol):
    """A reply of which the head has come: its HTTP status, and its headers, names in any case."""

    status_code: int
    headers: Any

    def aiter_raw(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes."""
        ...


class BodyError(Exception):
    """A body that is not read to its end; `final` if the same call would most likely end in the same way again."""

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
            BodyError: It is too large, compressed in another way than asked for, or torn.
        """
        _check_head(response)
        if 200 <= response.status_code < 300:
            return await self._whole(response)
        return await _beginning(response)

    async def _whole(self, response: Streamed) -> bytes:
        """Return a body that fits; each piece of it waits until there is room for it."""
        body, taken, beyond = bytearray(), 0, False
        if _announced(response) > self._most:
            raise self._too_large()
        try:
            async with aclosing(_pieces(response)) as pieces:
                async for piece in pieces:
                    if len(body) + len(piece) > self._most:
                        raise self._too_large()
                    if not beyond and len(piece) > self._free:
                        beyond = await self._beyond.acquire()
                    if not beyond:
                        self._free -= len(piece)
                        taken += len(piece)
                    body += piece
            if len(body) > _PIECE:
                async with self._finished:
                    await asyncio.sleep(0)
            return bytes(body)
        finally:
            body.clear()  # Else it would live as long as an error does whose traceback leads here.
            self._free += taken
            if beyond:
                self._beyond.release()

    def _too_large(self) -> BodyError:
        size = self._most // 2**20
        return BodyError(f"a reply of more than {size} MiB (--max-reply-mib allows larger ones)", final=True)


def too_intricate(body: bytes) -> bool:
    """Whether a body may hold too many values; marks within strings count, too."""
    return sum(map(body.count, (b"[", b"{", b",", b":", b"\n"))) > MOST_MARKS


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
    """Yield a body in small pieces, decompressed; give other calls a turn now and then."""
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
    """Passes a body on as it comes."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk brings."""
        yield chunk

    def end(self) -> None:
        """Check that the body is whole."""


class _Gzip(_Plain):
    """Decompresses a body, a small piece at a time."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = self._zlib.decompress(chunk, _PIECE)
            except zlib.error:
                raise BodyError("the reply is no gzip, though it says so") from None
            chunk = self._zlib.unconsumed_tail
            if piece:
                yield piece
            if not chunk and len(piece) < _PIECE:
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
    """Return the length that a reply announces; 0 if it announces none."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
