"""A model in several GGUF files, and files that are none: pipes, and parts that are missing or lie elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gguf
import pytest

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.adapters import parse_adapters
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.errors import ModelError
from lmcot_cli.files import sha256_of
from lmcot_cli.model_files.gguf_parts import part_names

TinyGguf = Callable[..., Path]
ONE_THREAD = EngineOptions(threads=1, parallel=2)


def opened(path: Path, *adapters: str) -> LlamaBackend:
    return LlamaBackend(path, ONE_THREAD, None, parse_adapters(adapters))


@pytest.fixture(scope="module")
def whole_parts(tiny_gguf: TinyGguf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the parts of a model, split at each tenth tensor."""
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf, "GGUFWriter", partial(gguf.GGUFWriter, split_max_tensors=10))
        written = tiny_gguf(seed=36)
    for path in written.parent.glob(f"{written.stem}-*-of-*.gguf"):
        path.rename(folder / path.name.replace(written.stem, "tiny"))
    return folder


@pytest.fixture
def parts(whole_parts: Path, tmp_path: Path) -> list[Path]:
    """The parts of a model, to be spoilt."""
    return sorted(Path(shutil.copytree(whole_parts, tmp_path / "model")).iterdir())


def test_the_names_of_parts() -> None:
    assert part_names("a-00001-of-00002.gguf") == ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]
    for name in ("a.gguf", "a-00002-of-00002.gguf", "a-1-of-2.gguf"):
        assert part_names(name) == [name]


def test_a_model_in_parts_writes_what_a_whole_one_does_and_each_part_is_in_its_digest(
    parts: list[Path], tiny_gguf: TinyGguf
) -> None:
    assert len(parts) == 3
    whole = tiny_gguf(seed=36, context=511)  # the same weights
    requests, sampling = [Request("the cat", 0)], Sampling(max_tokens=8)
    with opened(parts[0]) as backend:
        before, written = backend.identity.digest, backend.complete(requests, sampling)
    with opened(whole) as backend:
        assert backend.complete(requests, sampling) == written
        assert backend.identity.digest == sha256_of(whole)
    for part in parts:
        content = part.read_bytes()
        part.write_bytes(content[:-4] + b"\0\0\x80\x3f")
        with opened(parts[0]) as backend:
            assert backend.identity.digest != before, part
        part.write_bytes(content)


def test_a_part_that_is_missing_lies_elsewhere_or_is_a_pipe(
    parts: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parts[2].rename(tmp_path / "elsewhere.gguf")
    with pytest.raises(ModelError, match=rf"{parts[2].name}: is missing"):
        opened(parts[0])
    parts[2].symlink_to(tmp_path / "elsewhere.gguf")
    with pytest.raises(ModelError, match=rf"{parts[2].name}: is a link out of its folder"):
        opened(parts[0])
    parts[2].unlink()
    os.mkfifo(parts[2])
    with pytest.raises(ModelError, match=rf"{parts[2].name}: is not a file but a pipe"):
        opened(parts[0])
    with pytest.raises(ModelError, match="is a later part of a split model; name the first"):
        opened(parts[1])
    parts[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(ModelError, match="is the first of 3 parts of a model, but is not named so"):
        opened(tmp_path / "renamed.gguf")
    assert capfd.readouterr() == ("", "")


def test_a_pipe_is_no_model_and_no_adapter(tiny_gguf: TinyGguf, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    with pytest.raises(ModelError, match=r"pipe\.gguf: is not a file but a pipe or a device"):
        opened(pipe)
    with pytest.raises(ModelError, match=r"pipe\.gguf: no such adapter"):
        opened(tiny_gguf(), str(pipe))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 60, b"not one at all"])
def test_a_damaged_adapter_is_told_of_before_llama_cpp_sees_it(
    tiny_gguf: TinyGguf, tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.gguf: ") as caught:
        opened(tiny_gguf(), str(tmp_path / "a.gguf"))
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")
