"""An endpoint that does what no endpoint should: floods, drips, bombs, lies and falls silent.

It answers well at first, as many calls as it is told to, and then in one of the ways of `ATTACKS`. It runs in a process
of its own (`attacking`), and says what it has seen of the client (`Seen`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

GIB = 2**30
_BLOCK = 2**18
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
_START = b'{"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "'

Attack = Callable[[], AsyncIterator[bytes]]
ATTACKS: dict[str, Attack] = {}
"""What is sent in place of a reply; when it ends, the connection is closed."""


def good_body(text: str = "West Falmouth") -> bytes:
    """Write the body of a good reply."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


def sized(status: str, body: bytes, headers: bytes = b"") -> bytes:
    """Write a reply with its length."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n".encode() + headers + b"\r\n" + body


def attack(function: Attack) -> Attack:
    """Enter an attack under its name, with hyphens."""
    ATTACKS[function.__name__.replace("_", "-")] = function
    return function


async def endless(block: bytes) -> AsyncIterator[bytes]:
    """Send a block again and again."""
    block *= max(1, _BLOCK // len(block))
    while True:
        yield block


async def silence() -> AsyncIterator[bytes]:
    """Send nothing, for ever."""
    await asyncio.sleep(3600)
    yield b""


async def after(*beginning: bytes, then: AsyncIterator[bytes] | None = None) -> AsyncIterator[bytes]:
    """Send a beginning, and what follows."""
    for piece in beginning:
        yield piece
    async for piece in then or ():  # type: ignore[union-attr]
        yield piece


async def dripped(text: bytes) -> AsyncIterator[bytes]:
    """Send a byte every quarter of a second, for ever."""
    while True:
        for byte in text:
            yield bytes([byte])
            await asyncio.sleep(0.25)


def chunk(content: bytes) -> bytes:
    """Write a chunk of a body."""
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def bomb(block: bytes = b"a" * 2**20) -> tuple[bytes, bytes]:
    """Return the beginning of a gzip stream, and a piece of it that may follow any number of times."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    beginning = compressor.compress(_START) + compressor.flush(zlib.Z_FULL_FLUSH)
    return beginning, compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)


@attack
def gib() -> AsyncIterator[bytes]:
    """Send 1 GiB, as announced."""
    return after(_OK + f"content-length: {GIB}\r\n\r\n".encode() + _START, then=endless(b"a"))


@attack
def gib_unannounced() -> AsyncIterator[bytes]:
    """Send a body without end or length."""
    return after(_OK + b"\r\n" + _START, then=endless(b"a"))


@attack
def gib_chunked() -> AsyncIterator[bytes]:
    """Send a body without end, in large chunks."""
    return after(_OK + _CHUNKED, then=endless(chunk(b"a" * 2**16)))


@attack
def one_byte_chunks() -> AsyncIterator[bytes]:
    """Send a body without end, each byte a chunk of its own."""
    return after(_OK + _CHUNKED, then=endless(chunk(b" ")))


@attack
def gzip_bomb() -> AsyncIterator[bytes]:
    """Send a little that becomes very much."""
    beginning, piece = bomb()
    return after(_OK + b"content-encoding: gzip\r\n\r\n" + beginning, then=endless(piece))


@attack
def dripping() -> AsyncIterator[bytes]:
    """Send a body byte by byte."""
    return after(_OK + b"\r\n", then=dripped(_START))


@attack
def dripping_head() -> AsyncIterator[bytes]:
    """Send a head byte by byte."""
    return after(_OK, then=dripped(b"x-header: value\r\n"))


@attack
def dripping_error() -> AsyncIterator[bytes]:
    """Send the body of an error byte by byte."""
    return after(b"HTTP/1.1 500 Oops\r\n\r\n", then=dripped(_START))


@attack
def endless_headers() -> AsyncIterator[bytes]:
    """Send headers without end."""
    return after(_OK, then=endless(b"x-header: value\r\n"))


@attack
def endless_header() -> AsyncIterator[bytes]:
    """Send one header without end."""
    return after(_OK + b"x-header: ", then=endless(b"a"))


@attack
def many_headers() -> AsyncIterator[bytes]:
    """Send as many headers as the library takes, and a body that does not end."""
    return after(_OK + b"a:\r\n" * 20_000 + b"\r\n", then=dripped(_START))


@attack
def endless_trailers() -> AsyncIterator[bytes]:
    """Send headers without end after the body."""
    return after(_OK + _CHUNKED + chunk(good_body()) + b"0\r\n", then=endless(b"x-header: value\r\n"))


@attack
def informational() -> AsyncIterator[bytes]:
    """Send `100 Continue` without end."""
    return after(then=endless(b"HTTP/1.1 100 C\r\n\r\n"))


@attack
def never_closing() -> AsyncIterator[bytes]:
    """Send a good body without a length, and leave the connection open."""
    return after(_OK + b"\r\n" + good_body(), then=silence())


@attack
def silent() -> AsyncIterator[bytes]:
    """Send nothing."""
    return silence()


@attack
def huge_error() -> AsyncIterator[bytes]:
    """Send an error without end."""
    return after(b"HTTP/1.1 500 Oops\r\n\r\n", then=endless(b"all is lost, "))


@attack
def events() -> AsyncIterator[bytes]:
    """Send events without end."""
    return after(_OK + b"\r\n", then=endless(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'))


@attack
def comments() -> AsyncIterator[bytes]:
    """Send nothing but signs of life, as some gateways do while they wait."""
    return after(_OK + b"\r\n", then=endless(b":\n\n"))


@cache
def _intricate_reply() -> bytes:
    """Write it once: 64 calls for 13 MB each would keep this server from sending any in time."""
    return sized("200 OK", b'{"choices": [{"message": {"content": [' + b"[]," * 2**22 + b"[]]}}]}")


@attack
def intricate() -> AsyncIterator[bytes]:
    """Send more values than there should be room for."""
    return after(_intricate_reply())


@attack
def cookies() -> AsyncIterator[bytes]:
    """Send good replies, each with cookies to keep."""
    kept = b"".join(b"set-cookie: c%d=%s\r\n" % (number, b"a" * 400) for number in range(40))
    return after(sized("200 OK", good_body(), kept))


@dataclass
class Seen:
    """What a server has seen of its client.

    Attributes:
        calls: Calls of the model.
        attacked: Those of them that were not answered well.
        most_at_once: The most connections that were attacked at the same time.
        open: Connections that are.
        headers: Names of the headers of the last call.
    """

    calls: int = 0
    attacked: int = 0
    most_at_once: int = 0
    open: int = 0
    headers: tuple[str, ...] = ()


class HostileServer:
    """The server: good to so many calls, and to the list of models if `spare_list`, then hostile."""

    def __init__(self, attack: str, good: int, latency: float, *, spare_list: bool) -> None:
        self._attack, self._good, self._latency, self._spare_list = attack, good, latency, spare_list
        self._seen, self._at_once = Seen(), 0

    async def serve(self) -> None:
        """Serve on a free port, which is printed, until the process ends."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._seen.open += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(reader, writer):
                pass
        self._seen.open -= 1
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; whether another may follow on the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await reader.readexactly(int(headers.get("content-length", 0)))
        path = head.split(" ")[1]
        if path == "/seen":
            writer.write(sized("200 OK", json.dumps(asdict(self._seen)).encode()))
            return False
        if path == "/v1/models" and self._spare_list:
            writer.write(sized("200 OK", b'{"data": [{"id": "m"}]}'))
            return True
        self._seen.calls += 1
        self._seen.headers = tuple(headers)
        if self._seen.calls <= self._good:
            await asyncio.sleep(self._latency)
            writer.write(sized("200 OK", good_body()))
            return True
        return await self._assault(reader, writer)

    async def _assault(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Attack until the client is gone; whether it may ask again."""
        self._seen.attacked += 1
        self._at_once += 1
        self._seen.most_at_once = max(self._seen.most_at_once, self._at_once)
        sending = asyncio.ensure_future(self._send(writer))
        leaving = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        self._at_once -= 1
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
        return False

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        async for piece in ATTACKS[self._attack]():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # a client that keeps up would else be the only one to be served


@dataclass(frozen=True)
class Attacking:
    """A server that runs; `url` is where its API starts."""

    url: str

    def seen(self) -> Seen:
        """Ask what it has seen so far."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/seen", timeout=30) as reply:
            return Seen(**json.loads(reply.read()))


@contextmanager
def attacking(
    attack: str, good: int = 0, latency: float = 0.0, *, spare_list: bool = True
) -> Iterator[Attacking]:
    """Run a server in a process of its own."""
    words = [attack, str(good), str(latency), str(int(spare_list))]
    with subprocess.Popen(
        [sys.executable, str(Path(__file__)), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            yield Attacking(f"http://127.0.0.1:{int(process.stdout.readline())}/v1")
        finally:
            process.kill()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("attack", choices=sorted(ATTACKS))
    parser.add_argument("good", type=int)
    parser.add_argument("latency", type=float)
    parser.add_argument("spare_list", type=int)
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(
            HostileServer(given.attack, given.good, given.latency, spare_list=bool(given.spare_list)).serve()
        )


if __name__ == "__main__":
    main()
