"""Folders of models with an attack in them, and what shows that the attack came to nothing."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest


class Bomb:
    """Something whose unpickling makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """The file that is made when a bomb goes off; it must never be there."""
    path = tmp_path / "the bomb went off"
    yield path
    assert not path.exists()


@pytest.fixture
def bomb(marker: Path) -> bytes:
    """A pickle that makes the marker when it is read."""
    return pickle.dumps(Bomb(marker))


@pytest.fixture
def model(tiny_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A good model's folder, to be spoilt."""
    return Path(shutil.copytree(tiny_folder(), tmp_path / "model"))


@pytest.fixture(scope="session")
def whole_adapter(tiny_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good LoRA adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    base = AutoModelForCausalLM.from_pretrained(tiny_folder())
    get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(whole_adapter: Path, tmp_path: Path) -> Path:
    """A good adapter's folder, to be spoilt."""
    return Path(shutil.copytree(whole_adapter, tmp_path / "adapter"))


@pytest.fixture
def settings() -> Callable[..., None]:
    """Change settings in a JSON file."""

    def change(path: Path, **values: Any) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A server in the place of the hub, and the requests that it has got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_error(404)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
