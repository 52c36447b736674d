"""Names of hub files; fetching itself is tested through `lmcot models pull`."""

from __future__ import annotations

import errno
from typing import NoReturn

import huggingface_hub
import pytest

from lmcot_cli.errors import ModelError, ModelSpecError, OutputError
from lmcot_cli.models.hub import HubFile, download, parse


def test_a_spec_and_its_parts() -> None:
    source = parse("hf:Qwen/Qwen3-0.6B-GGUF:Qwen3-0.6B-Q8_0.gguf")
    assert source == HubFile("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf")
    assert source.spec == "hf:Qwen/Qwen3-0.6B-GGUF:Qwen3-0.6B-Q8_0.gguf"
    assert parse("hf:a/b:folder/file.gguf").file == "folder/file.gguf"


@pytest.mark.parametrize(
    "spec",
    [
        *["", "hf:", "hf:a/b", "hf:a:x.gguf", "hf:a/b/c:x.gguf", "hf:a/b:x.bin", "hf:a b/c:x.gguf"],
        *["a/b:x.gguf", "hf:a/b:../x.gguf", "hf:a/b:c/../../x.gguf", "hf:a/b:/x.gguf", "hf:a/b:./x.gguf"],
    ],
)
def test_what_is_no_spec_is_refused(spec: str) -> None:
    with pytest.raises(ModelSpecError, match="hf:ORG/REPO:FILE"):
        parse(spec)


def test_a_full_disk_says_where_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", full)
    with pytest.raises(OutputError, match=r"no space left on the disk; free some, or set HF_HOME"):
        download(HubFile("a/b", "c.gguf"))


def test_a_password_of_the_hub_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> NoReturn:
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lost)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://me:secret@hub.example")
    with pytest.raises(ModelError, match=r"^https://hub\.example/a/b: the connection failed"):
        download(HubFile("a/b", "c.gguf"))
