"""`lmcot models`, run as a user runs it: its own process, against a server that speaks the hub's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gguf
import numpy as np
import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = "tiny-q8_0.gguf"
SPEC = f"hf:org/good:{FILE}"

# What the hub answers for a repository it will not serve: status and X-Error-Code.
REFUSALS = {
    "org/absent": (404, "RepoNotFound"),
    "org/gated": (403, "GatedRepo"),
    "org/forbidden": (403, None),
    "org/down": (500, None),
}


class Hub(BaseHTTPRequestHandler):
    """The part of the hub that serves files; `resolve` redirects to a store, as the real one does."""

    content: bytes
    server: HubServer

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        repository = "/".join(self.path.split("/")[1:3])
        if self.path == "/store":
            self._send(200, {}, self.content if with_body else None, length=len(self.content))
        elif repository in REFUSALS:
            status, code = REFUSALS[repository]
            self._send(status, {"X-Error-Code": code} if code else {}, None)
        elif (
            self.path == f"/org/good/resolve/main/{FILE}" or self.path == f"/org/good/resolve/{COMMIT}/{FILE}"
        ):
            linked = {"X-Linked-Etag": '"etag-of-tiny"', "X-Linked-Size": str(len(self.content))}
            self._send(
                302, {"Location": f"{self.server.store}/store", "X-Repo-Commit": COMMIT, **linked}, None
            )
        else:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, None)

    def _send(self, status: int, headers: dict[str, str], body: bytes | None, length: int = 0) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def store(self) -> str:
        """The same server by its other name: files lie on another host than the hub."""
        return f"http://localhost:{self.server_address[1]}"


def write_gguf(path: Path) -> bytes:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_context_length(512)
    writer.add_file_type(7)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def hub_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    Hub.content = write_gguf(tmp_path_factory.mktemp("hub") / FILE)
    with HubServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


def lmcot(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "lmcot_cli", "models", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "HF_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200", **environment},
    )


def test_pull_prints_the_spec_and_the_file_is_then_listed_and_shown(hub_url: str, tmp_path: Path) -> None:
    pulled = lmcot("pull", SPEC, home=tmp_path, HF_ENDPOINT=hub_url)
    assert (pulled.returncode, pulled.stdout) == (0, f"{SPEC}\n"), pulled.stderr
    assert "llama, Q8_0" in pulled.stderr

    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert lmcot("pull", SPEC, home=tmp_path, **offline).stdout == f"{SPEC}\n"
    assert SPEC in lmcot("list", home=tmp_path, **offline).stdout
    shown = json.loads(lmcot("show", SPEC, "--json", home=tmp_path, **offline).stdout)
    assert (shown["model_name"], shown["parameters"], shown["context"]) == ("Tiny", 128, 512)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (f"hf:org/absent:{FILE}", "no repository at"),
        ("hf:org/good:other.gguf", "org/good has no file other.gguf"),
        (f"hf:org/gated:{FILE}", "org/gated is gated"),
        (f"hf:org/forbidden:{FILE}", "no permission (HTTP 403); set HF_TOKEN"),
        (f"hf:org/down:{FILE}", "the hub answered HTTP 500"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line(hub_url: str, tmp_path: Path, spec: str, said: str) -> None:
    pulled = lmcot("pull", spec, home=tmp_path, HF_ENDPOINT=hub_url)
    assert pulled.returncode == 1
    assert said in pulled.stderr
    assert one_line(pulled)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "unset HF_HUB_OFFLINE"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9/org/good: the connection failed"),
    ],
)
def test_no_connection_is_one_line(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    pulled = lmcot("pull", SPEC, home=tmp_path, **environment)
    assert pulled.returncode == 1
    assert said in pulled.stderr
    assert one_line(pulled)


def test_a_cache_that_cannot_be_written_is_one_line(hub_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    pulled = lmcot("pull", SPEC, home=tmp_path / "file", HF_ENDPOINT=hub_url)
    assert pulled.returncode == 1
    assert "set HF_HOME" in pulled.stderr
    assert one_line(pulled)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("no-such-model", "lmcot models list"),
        ("builtin:small", "comes with lmcot"),
        ("hf:org/repo", "hf:ORG/REPO:FILE.gguf"),
        ("hf:org/re--po:x.gguf", "org/re--po"),
    ],
)
def test_a_name_that_cannot_be_pulled_is_a_usage_error(tmp_path: Path, model: str, said: str) -> None:
    pulled = lmcot("pull", model, home=tmp_path)
    assert pulled.returncode == 2
    assert said in pulled.stderr
    assert one_line(pulled)


def test_list_names_the_pair_the_cache_and_the_catalogue(tmp_path: Path) -> None:
    listed = lmcot("list", home=tmp_path).stdout
    assert "use real models for real questions" in listed
    assert "builtin:small" in listed
    assert "  none" in listed
    assert "qwen2.5-0.5b" in listed
    [line] = [line for line in listed.splitlines() if " gpt-oss-20b " in line]
    assert line.split() == ["12.11", "GB", "gpt-oss-20b", "large", "thinks", "Apache-2.0"]
    records = json.loads(lmcot("list", "--json", home=tmp_path).stdout)["catalogue"]
    assert {record["name"]: record["thinking"] for record in records}["qwen3-4b"] == "optional"


def test_show_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    write_gguf(file)
    shown = lmcot("show", str(file), home=tmp_path).stdout
    assert "architecture:  llama" in shown
    assert "chat template: no" in shown


def test_show_an_entry_of_the_catalogue_says_that_it_is_not_here(tmp_path: Path) -> None:
    shown = lmcot("show", "Qwen3-0.6b", home=tmp_path).stdout
    assert "hf:Qwen/Qwen3-0.6B-GGUF:Qwen3-0.6B-Q8_0.gguf" in shown
    assert "no; lmcot models pull" in shown
    assert "thinking:      optional" in shown


@pytest.mark.parametrize(
    ("content", "said"), [(b"not a model", "not a GGUF file"), (b"GGUF\x03\0", "truncated")]
)
def test_show_a_file_that_is_no_model(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(content)
    shown = lmcot("show", str(file), home=tmp_path)
    assert shown.returncode == 1
    assert said in shown.stderr
    assert one_line(shown)


def one_line(finished: subprocess.CompletedProcess[str]) -> bool:
    """Tell whether stderr is our one error line and stdout is empty."""
    return (
        finished.stdout == "" and finished.stderr.count("\n") == 1 and finished.stderr.startswith("error: ")
    )


def test_a_full_disk_and_a_closed_pipe_end_the_list_quietly(tmp_path: Path) -> None:
    command = f"{sys.executable} -m lmcot_cli models list > /dev/full"
    full = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert full.returncode == 1
    assert full.stderr == "error: standard output: cannot be written: No space left on device\n"
    command = f"set -o pipefail; {sys.executable} -m lmcot_cli models list | true"
    closed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (closed.returncode, closed.stderr) == (141, "")


def test_list_and_show_agree_on_a_model_that_comes_with_a_package(tmp_path: Path) -> None:
    listed = json.loads(lmcot("list", "--json", home=tmp_path).stdout)["catalogue"]
    shown = json.loads(lmcot("show", "smollm2-135m", "--json", home=tmp_path).stdout)
    entry = next(one for one in listed if one["name"] == "smollm2-135m")
    assert (entry["size"], entry["file"]) == (shown["size"], shown["file"])
    assert entry["file"] in entry["spec"]


@pytest.mark.parametrize("command", ["show", "pull"])
def test_a_name_that_is_no_models_ends_with_the_nearest_one(command: str, tmp_path: Path) -> None:
    done = lmcot(command, "smolm2-360", home=tmp_path)
    assert (done.returncode, done.stderr.endswith("; did you mean 'smollm2-360m'?\n")) == (2, True)
