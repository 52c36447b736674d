"""Endpoints to test against: they run for as long as a test does, with no key and no cache unless it says so."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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


fault_server = _load("fault_server")


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
def connect() -> Iterator[Callable[..., EndpointBackend]]:
    """Open an endpoint; the arguments are those of `EndpointOptions`."""
    with ExitStack() as stack:

        def to(url: str, model: str = "m", **options: Any) -> EndpointBackend:
            options = {"request_timeout": 5.0, "total_timeout": 20.0} | options
            return stack.enter_context(EndpointBackend(Address(url, model), EndpointOptions(**options)))

        yield to
