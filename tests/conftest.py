"""What all tests share: settings of their own, rows, and tiny models."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lmcot_cli.datasets.row import Row

if TYPE_CHECKING:
    pass


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_interrupts() -> None:
    """Let Ctrl-C interrupt, in programs that tests start too: a shell has what it runs in the background ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is remembered between runs out of the user's cache, and the user's own settings out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("cache", "config", "state"):
            patch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path_factory.mktemp(kind)))
        yield


@pytest.fixture(scope="session")
def microhop() -> Callable[..., list[Row]]:
    """Make `count` MicroHop rows with a gold answer and rationale, from a `seed`."""
    from tests.tiny_models.microhop import microhop_rows

    return microhop_rows


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a tiny model folder; equal settings give the same one."""
    from tests.tiny_models.folders import write_folder

    root = tmp_path_factory.mktemp("folders")
    written: dict[str, Path] = {}

    def write(
        family: str = "llama", *, tokenizer: str = "byte", chat: bool = False, seed: int = 0, **settings: Any
    ) -> Path:
        key = repr((family, tokenizer, chat, seed, sorted(settings.items())))
        if key not in written:
            written[key] = write_folder(root / f"m{len(written)}", family, tokenizer, chat, seed, settings)
        return written[key]

    return write


@pytest.fixture
def hostile_gguf(tmp_path: Path) -> Callable[[str], Path]:
    """Write a tiny GGUF file with a chat template of one's own."""
    from tests.tiny_models.gguf_files import TinyLlama, write_tiny_gguf

    def with_template(source: str) -> Path:
        return write_tiny_gguf(tmp_path / "model.gguf", TinyLlama(chat=True, template=source))

    return with_template


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a tiny model folder: `shape` is `llama` or `t5`, the other settings those of its tokenizer."""
    from tests.tiny_models.microhop import llama_folder, t5_folder

    folder = tmp_path_factory.mktemp("bases")
    written: dict[str, Path] = {}

    def write(shape: str = "llama", **settings: bool) -> Path:
        name = "-".join([shape, *sorted(key for key, value in settings.items() if value)])
        if name not in written:
            written[name] = {"llama": llama_folder, "t5": t5_folder}[shape](folder / name, **settings)
        return written[name]

    return write
