"""Endpoints to test against: they run for as long as a test does, with no key and no cache unless it says so."""

from __future__ import annotations

import importlib.util
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.backends.endpoint.options import EndpointOptions


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


fault_server, _ = _load("fault_server"), _load("replies")
hostile_server = _load("hostile_server")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away what the developer's own environment says of endpoints."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_LOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """Start a fault server; the arguments are those of its `Setup`."""
    with ExitStack() as stack:
        yield lambda **setup: stack.enter_context(fault_server.running(fault_server.Setup(**setup)))


@pytest.fixture
def assault() -> Iterator[Callable[..., Any]]:
    """Start a hostile server; the arguments are those of `attacking`."""
    with ExitStack() as stack:
        yield lambda *words, **more: stack.enter_context(hostile_server.attacking(*words, **more))


@pytest.fixture
def connect() -> Iterator[Callable[..., EndpointBackend]]:
    """Open an endpoint; the arguments are those of `EndpointOptions`."""
    with ExitStack() as stack:

        def to(url: str, model: str = "m", **options: Any) -> EndpointBackend:
            options = {"request_timeout": 5.0, "total_timeout": 20.0} | options
            return stack.enter_context(EndpointBackend(Address(url, model), EndpointOptions(**options)))

        yield to


class Answering(BaseHTTPRequestHandler):
    """Answers as a function says that is given path, headers and body."""

    protocol_version = "HTTP/1.1"
    answer: Callable[[str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]

    def do_GET(self) -> None:
        self._reply()

    def do_POST(self) -> None:
        self._reply()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, more, content = type(self).answer(self.path, headers, body)
        self.send_response(status)
        for name, value in {**more, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # the client may have hung up
            self.wfile.write(content)


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """Start a server in a thread that answers as a function says; give its URL."""
    with ExitStack() as stack:

        def start(answer: Callable[..., Any], context: ssl.SSLContext | None = None) -> str:
            handler = type("Handler", (Answering,), {"answer": staticmethod(answer)})
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            server.daemon_threads = True
            if context:
                server.socket = context.wrap_socket(server.socket, server_side=True)
                server.handle_error = lambda request, address: None  # type: ignore[method-assign]
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http{'s' if context else ''}://127.0.0.1:{server.server_port}/v1"

        yield start
