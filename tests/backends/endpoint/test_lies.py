"""Replies that break HTTP, or say of themselves what is not so: each is one plain fault, and no traceback."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hostile_server import bomb, chunk, good_body, sized

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.errors import RowError

Replying = Callable[[bytes], str]
Connect = Callable[..., EndpointBackend]

GOOD = good_body("Lyon")
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


class Raw(socketserver.BaseRequestHandler):
    """Answers the first call well, which is the test request, and each other by the bytes that are given."""

    reply: bytes
    before_request: bool
    calls: list[int]

    def handle(self) -> None:
        if self.before_request and self.calls:
            self.request.sendall(self.reply)
        with suppress(OSError):
            self._answer(self._head_and_body())
            self.request.shutdown(socket.SHUT_WR)
            while self.request.recv(65536):
                pass

    def _head_and_body(self) -> bytes:
        read = b""
        while b"\r\n\r\n" not in read:
            read += self.request.recv(65536)
        head, _, body = read.partition(b"\r\n\r\n")
        lines = [line.split(b": ") for line in head.lower().split(b"\r\n")]
        length = next((int(line[1]) for line in lines if line[0] == b"content-length"), 0)
        while len(body) < length:
            body += self.request.recv(65536)
        return head

    def _answer(self, head: bytes) -> None:
        if b"/models" in head.split(b"\r\n")[0]:
            self.request.sendall(sized("404 Not found", b"{}", b"connection: close\r\n"))
        elif not self.calls:
            self.request.sendall(sized("200 OK", good_body(), b"connection: close\r\n"))
            self.calls.append(1)
        else:
            self.calls.append(1)
            self.request.sendall(b"" if self.before_request else self.reply)


@pytest.fixture
def replying() -> Iterator[Callable[..., str]]:
    """Start a server that says certain bytes; give its URL."""
    with ExitStack() as stack:

        def start(reply: bytes, *, before_request: bool = False) -> str:
            made = {"reply": reply, "before_request": before_request, "calls": list[int]()}
            server = stack.enter_context(
                socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Handler", (Raw,), made))
            )
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/v1"

        yield start


def ask(connect: Connect, url: str) -> Completion | RowError:
    backend = connect(url, request_timeout=1.0, total_timeout=2.0)
    (reply,) = backend.complete([Request("a", 0)], Sampling())
    return reply


ODD_BUT_GOOD: dict[str, bytes] = {
    "gzip": sized("200 OK", zlib.compress(GOOD, wbits=31), b"content-encoding: gzip\r\n"),
    "gzip in small chunks": CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-encoding: x-gzip\r\n\r\n")
    + b"".join(chunk(bytes([byte])) for byte in zlib.compress(GOOD, wbits=31))
    + b"0\r\n\r\n",
    "trailers": CHUNKED + chunk(GOOD) + b"0\r\nx-trailer: 1\r\n\r\n",
    "100 before": b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + sized("200 OK", GOOD),
    "no length": OK + b"connection: close\r\n\r\n" + GOOD,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + GOOD,
    "a charset that there is not": sized("200 OK", GOOD, b"content-type: application/json; charset=x\r\n"),
    "a charset that decompresses": sized("200 OK", GOOD, b"content-type: application/json; charset=zlib\r\n"),
    "more than its length": sized("200 OK", GOOD) + b"and more",
}


@pytest.mark.parametrize("reply", ODD_BUT_GOOD.values(), ids=ODD_BUT_GOOD)
def test_what_is_odd_and_allowed_is_read(replying: Replying, connect: Connect, reply: bytes) -> None:
    answer = ask(connect, replying(reply))
    assert isinstance(answer, Completion)
    assert answer.text == "Lyon"


LIES: dict[str, tuple[bytes, str]] = {
    "shorter": (OK + b"content-length: 20\r\n\r\n" + GOOD, "the reply is no JSON"),
    "longer": (OK + b"content-length: 9999\r\n\r\n" + GOOD, "without sending complete message body"),
    "negative": (OK + b"content-length: -5\r\n\r\n" + GOOD, "bad Content-Length"),
    "two lengths": (OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\n" + GOOD, "Content-Length"),
    "absurd length": (OK + b"content-length: 99999999999999\r\n\r\n" + GOOD, "a reply of more than 16 MiB"),
    "absurd chunk": (CHUNKED + b"ffffffffffffffffffffffff\r\n" + GOOD, "illegal chunk header"),
    "huge chunk": (CHUNKED + b"fffffffffffffff\r\n" + GOOD, "incomplete chunked read"),
    "torn chunk": (CHUNKED + chunk(GOOD), "incomplete chunked read"),
    "junk": (b"\x00\xff" * 200 + b"\r\n\r\n", "illegal status line"),
    "HTTP/0.9": (GOOD, "."),
    "nothing": (b"", "Server disconnected"),
    "head only": (OK + b"x: y\r\n", "."),
    "204": (b"HTTP/1.1 204 None\r\n\r\n" + GOOD, "the reply is no JSON"),
    "304": (b"HTTP/1.1 304 Same\r\n\r\n" + GOOD, "has moved .304."),
    "101": (b"HTTP/1.1 101 Switch\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + GOOD, "."),
    "302": (sized("302 Found", b"", b"location: http://\xff/%00\r\n"), "has moved|illegal|invalid|."),
    "UTF-16": (
        sized("200 OK", GOOD.decode().encode("utf-16"), b"content-type: application/json; charset=utf-16\r\n"),
        "the reply is no JSON",
    ),
    "no gzip": (sized("200 OK", GOOD, b"content-encoding: gzip\r\n"), "is no gzip, though it says so"),
    "torn gzip": (
        sized("200 OK", zlib.compress(GOOD, wbits=31)[:-9], b"content-encoding: gzip\r\n"),
        "the compressed reply broke off",
    ),
    "gzip of gzip": (sized("200 OK", bomb()[0], b"content-encoding: gzip, gzip\r\n"), "not asked for .'gzip, gzip'"),
    "brotli": (sized("200 OK", GOOD, b"content-encoding: br\r\n"), "compressed in a way that was not asked for .'br'"),
    "many headers": (sized("200 OK", GOOD, b"a: b\r\n" * 300), "more than 256 headers"),
    "an error in zlib": (
        sized("400 Bad", zlib.compress(b"a" * 10**6), b"content-type: text/plain; charset=zlib\r\n"),
        "answered 400",
    ),
    "an error in brotli": (sized("400 Bad", b"abc", b"content-encoding: br\r\n"), "answered 400"),
    "a long error": (sized("400 Bad", b"all is lost, " * 10**5), "answered 400: all is lost, all"),
    "a deep error": (sized("400 Bad", b"[" * 50_000), "answered 400"),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "fault"), LIES.values(), ids=LIES)
def test_a_lie_is_a_plain_fault(replying: Replying, connect: Connect, reply: bytes, fault: str) -> None:
    try:
        answer: Any = ask(connect, replying(reply))
    except Exception as error:
        answer = error
    assert type(answer).__name__ in ("RowError", "ModelError")
    message = str(answer)
    assert re.search(fault, message), message
    assert "\n" not in message
    assert len(message) < 500


def test_a_reply_before_the_request_harms_nothing(replying: Callable[..., str], connect: Connect) -> None:
    answer = ask(connect, replying(sized("200 OK", GOOD, b"connection: close\r\n"), before_request=True))
    assert isinstance(answer, Completion | RowError)


def test_a_server_that_does_not_finish_the_handshake_is_given_up_in_time(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/v1"
        with pytest.raises(Exception, match=r"no reply within|does not answer"):
            connect(url, request_timeout=0.3, total_timeout=0.9, cache=False)
