from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Backend
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.naming import RESERVED
from lmcot_cli.backends.scripted import ScriptedBackend
from lmcot_cli.backends.specs import _FORMS, downloads, open_model
from lmcot_cli.errors import LmcotError, ModelError, ModelSpecError
from lmcot_cli.models import embedded
from lmcot_cli.models import hub as hub_models


def load(spec: str, aliases: dict[str, str] | None = None) -> Backend:
    return open_model(spec, role="small", aliases=aliases or {}, options=EngineOptions(threads=1))


def test_a_path_and_gguf_name_a_file(tiny_gguf: Callable[..., Path], tmp_path: Path) -> None:
    oddly_named = shutil.copy(tiny_gguf(), tmp_path / "model.bin")
    for spec in (str(tiny_gguf()), f"gguf:{oddly_named}"):
        with load(spec) as backend:
            assert isinstance(backend, LlamaBackend)
            assert backend.identity.spec == spec


def test_builtin_names_the_embedded_pair(
    tiny_gguf: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(tiny_gguf(), tmp_path / "small.gguf")
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    with load("builtin:small") as backend:
        assert backend.identity.spec == "builtin:small"
    with pytest.raises(ModelError, match=r"large\.gguf"):
        load("builtin:large")


def test_scripted_names_a_script(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text('"a reply"\n')
    assert isinstance(load(f"scripted:{path}"), ScriptedBackend)


def test_an_alias_stands_for_its_spec(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text('"a reply"\n')
    assert load("mine", {"mine": f"scripted:{path}"}).identity.spec == f"scripted:{path}"


@pytest.mark.parametrize("spec", ["", "gpt-5", "openia:gpt-5", "/tmp", "no/such/file.bin", "gguf"])
def test_any_other_spec_is_refused_with_the_forms_that_work(spec: str) -> None:
    with pytest.raises(ModelSpecError) as caught:
        load(spec, {"mine": "builtin:small"})
    message = str(caught.value)
    assert message.startswith(f"--small {spec!r} names no model")
    for form in (
        *("builtin:small", "gguf:PATH", "hf:ORG/REPO:FILE.gguf", "scripted:FILE", "an alias (mine)"),
        *("openai:MODEL", "http://HOST:PORT/v1#MODEL", "https://HOST/v1#MODEL"),
    ):
        assert form in message


def test_an_alias_of_nothing_is_named_with_what_it_stands_for() -> None:
    with pytest.raises(ModelSpecError, match=r"'mine' \(an alias of 'openia:x'\)"):
        load("mine", {"mine": "openia:x"})


@pytest.mark.parametrize(
    "spec", ["openai:gpt-5", "http://127.0.0.1:1/v1#gpt-5", "https://127.0.0.1:1/v1#gpt-5"]
)
def test_an_endpoint_is_asked_by_its_address(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    with pytest.raises(ModelError, match=r"nothing answers at https?://127\.0\.0\.1:1/v1"):
        load(spec)


@pytest.mark.parametrize(
    "spec", ["hf:org/repo", "hf:repo:model.gguf", "builtin:medium", "openai:", "http://127.0.0.1:1/v1"]
)
def test_a_known_kind_of_spec_without_a_model_is_refused(spec: str) -> None:
    with pytest.raises(ModelSpecError):
        load(spec)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(LmcotError, match=r"^nope\.gguf: no such model file"):
        load("nope.gguf")


class _Hub(BaseHTTPRequestHandler):
    """One file of one repository, in the protocol of the hub."""

    content: bytes

    def do_HEAD(self) -> None:
        self._send_head()

    def do_GET(self) -> None:
        if self._send_head():
            self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _send_head(self) -> bool:
        found = self.path == "/org/repo/resolve/main/model.gguf"
        self.send_response(200 if found else 404)
        if found:
            self.send_header("ETag", '"abc"')
            self.send_header("X-Repo-Commit", "0" * 40)
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(self.content)) if found else "0")
        self.end_headers()
        return found


@pytest.fixture
def hub(tiny_gguf: Callable[..., Path]) -> Iterator[str]:
    handler = type("Hub", (_Hub,), {"content": tiny_gguf().read_bytes()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_hf_downloads_once_and_then_works_offline(hub: str, tmp_path: Path) -> None:
    # In processes of their own: huggingface_hub reads its environment when it is imported.
    program = (
        "from lmcot_cli.backends.specs import open_model, EngineOptions\n"
        "options = EngineOptions(threads=1)\n"
        "model = open_model('hf:org/repo:model.gguf', role='large', aliases={}, options=options)\n"
        "print(model.identity.spec)"
    )
    environment = {
        "HF_ENDPOINT": hub,
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "NO_PROXY": "*",
    }
    offline = environment | {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HUB_OFFLINE": "1"}
    for variables in (environment, offline):
        result = subprocess.run(
            [sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False
        )
        assert result.stdout == "hf:org/repo:model.gguf\n", result.stderr


def test_a_name_of_the_catalogue_stands_for_its_file_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[hub_models.HubFile] = []

    def download(source: hub_models.HubFile) -> Path:
        asked.append(source)
        raise ModelError("offline")

    monkeypatch.setattr(hub_models, "download", download)
    with pytest.raises(ModelError, match="offline"):
        load("smollm2-360m")
    assert [source.repository for source in asked] == ["bartowski/SmolLM2-360M-Instruct-GGUF"]


@pytest.mark.parametrize(
    "name", ["smollm2-360m", "SmolLM2-360M", "builtin:large", "openai:gpt-4o-mini", "openai", "m.gguf", "a/b"]
)
def test_no_alias_takes_the_place_of_what_names_a_model_by_itself(tmp_path: Path, name: str) -> None:
    replies = tmp_path / "replies.jsonl"
    replies.write_text('"yes"\n')
    with pytest.raises(ModelSpecError, match=r"the alias '.*' of the settings file: "):
        load(name, {name: f"scripted:{replies}"})


def test_no_alias_takes_the_place_of_a_folder(
    tiny_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_folder(), tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelSpecError, match=r"'mine' is an alias .* and a folder here: write \./mine"):
        load("mine", {"mine": "builtin:small"})


def test_every_word_that_a_spec_begins_with_is_reserved() -> None:
    assert {scheme.partition(":")[0] for scheme in _FORMS} == {*RESERVED}


def test_what_a_spec_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()

    def found(spec: str) -> list[str]:
        return [f"{file.repository} {file.file}" for file in downloads(spec)]

    assert found("hf:a/b:c.gguf") == ["a/b c.gguf"]
    assert found("transformers:a/b") == ["a/b config.json"]
    assert found("transformers:a/b+c/d") == ["a/b config.json", "c/d adapter_config.json"]
    assert found("transformers:here+c/d") == ["c/d adapter_config.json"]
    assert found("transformers:here") == found("builtin:large") == found("x.gguf") == []


def test_a_name_too_long_for_a_file_names_no_model() -> None:
    with pytest.raises(ModelSpecError, match="names no model"):
        load("x" * 5000)
