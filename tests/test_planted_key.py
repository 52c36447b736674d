"""A planted key is found in no request to a host that the user did not name, no file and no log.

Over all ways of naming a model: `KEYED` are those of a user, whose host is given the key; `REFUSED` are those of a
settings file that lies in the working directory, which nobody has confirmed.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lmcot_cli.commands import settings_file
from lmcot_cli.main import app

KEY = "sk-planted-7f3a9c51e2"
OTHER_KEY = "sk-another-0b1d2e3f4a"
FOR_OPENAI = "planted-for-openai-4c5d"
REPLY = {
    "choices": [{"message": {"content": "Lyon is a city. Answer: Lyon"}, "finish_reason": "stop"}],
    "usage": {},
}


@dataclass
class Server:
    """A server on loopback that keeps all that it is sent."""

    url: str = ""
    redirect: str | None = None
    requests: list[bytes] = field(default_factory=list)

    @property
    def place(self) -> str:
        return self.url.removeprefix("http://").removesuffix("/v1")

    def holds(self, text: str) -> bool:
        return any(found(text, request) for request in self.requests)


class Recording(BaseHTTPRequestHandler):
    """Keeps a request whole, and answers it."""

    server_of_test: Server
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        server = self.server_of_test
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        server.requests.append(f"{self.command} {self.path}\n{self.headers}".encode() + body)
        content = json.dumps(REPLY if self.command == "POST" else {"data": [{"id": "m"}]}).encode()
        self.send_response(307 if server.redirect else 200)
        if server.redirect:
            self.send_header("Location", server.redirect + self.path)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class World:
    """A user with a key, a configuration folder, a working directory, and two servers, one of them a stranger's."""

    root: Path
    named: Server
    stranger: Server

    @property
    def work(self) -> Path:
        return self.root / "work"

    def own(self, text: str) -> None:
        """Write the user's own settings file."""
        (self.root / "config" / "lmcot" / "lmcot.toml").write_text(text)

    def here(self, text: str) -> None:
        """Write a settings file into the working directory."""
        (self.work / "lmcot.toml").write_text(text)

    def elsewhere(self, text: str) -> str:
        path = self.root / "mine.toml"
        path.write_text(text)
        return str(path)

    def leaks(self, text: str, result: Result) -> list[str]:
        """Name the files and streams that hold a text, or an encoding of it."""
        places = {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        places |= {"stdout": result.stdout_bytes, "stderr": result.stderr_bytes}
        return [place for place, content in places.items() if found(text, content)]


def found(text: str, content: bytes) -> bool:
    forms = (text.encode(), text[3:].encode(), base64.b64encode(text.encode())[:-4])
    return any(form in content for form in forms)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for folder in ("work", "config/lmcot", "state", "cache"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    for kind in ("config", "state", "cache"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / kind))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", FOR_OPENAI)
    monkeypatch.setenv("OPENAI_PROJECT_ID", FOR_OPENAI)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Mine: {FOR_OPENAI}\nauthorization: Bearer {FOR_OPENAI}")
    monkeypatch.setenv("OTHER_KEY", OTHER_KEY)
    rows = [
        {"id": f"q{i}", "question": f"Where is {i}?", "context": "Here.", "answer": "Lyon"} for i in range(2)
    ]
    (tmp_path / "work" / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "work" / "script.jsonl").write_text('{"match": "", "text": "Lyon"}\n')
    with ExitStack() as stack:
        yield World(tmp_path, *(serving(stack) for _ in range(2)))


def serving(stack: ExitStack) -> Server:
    server = Server()
    handler = type("Handler", (Recording,), {"server_of_test": server})
    listening = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    stack.callback(listening.shutdown)
    server.url = f"http://127.0.0.1:{listening.server_port}/v1"
    return server


def answer(*words: str) -> Result:
    """Answer the questions, with everything that is kept kept."""
    command = ["answer", "q.jsonl", "-o", "out.jsonl", "--method", "standard", "--cache", *words]
    return CliRunner().invoke(app, command)


Way = Callable[[World], tuple[str, ...]]
"""Writes the files of a way to name a model, and returns the words to type for it."""


def own_file(world: World, text: str, *words: str) -> tuple[str, ...]:
    world.own(text)
    return words


def named_file(world: World, text: str, *words: str) -> tuple[str, ...]:
    return ("--config", world.elsewhere(text), *words)


def file_here(world: World, text: str, *words: str) -> tuple[str, ...]:
    world.here(text)
    return words


def base_url(world: World) -> tuple[str, ...]:
    os.environ["OPENAI_BASE_URL"] = world.named.url  # taken back by the fixture's monkeypatch
    return ("--large", "openai:m")


KEYED: dict[str, Way] = {
    "command line": lambda w: ("--large", f"{w.named.url}#m"),
    "command line, route": lambda w: ("--large", f"{w.named.url}/chat/completions#m"),
    "command line, Azure": lambda w: ("--large", f"{w.named.url}?api-version=2024-10-21#m"),
    "command line, over an own file": lambda w: own_file(
        w, f'[answer]\nlarge = "{w.stranger.url}#m"\n', "--large", f"{w.named.url}#m"
    ),
    "command line, beside harmless settings": lambda w: file_here(
        w, "[answer]\ntemperature = 0.5\n", "--large", f"{w.named.url}#m"
    ),
    "own alias": lambda w: own_file(w, f'[models]\nmine = "{w.named.url}#m"\n', "--large", "mine"),
    "own default": lambda w: own_file(w, f'[answer]\nlarge = "{w.named.url}#m"\n'),
    "own default by alias": lambda w: own_file(
        w, f'[models]\nmine = "{w.named.url}#m"\n[answer]\nlarge = "mine"\n'
    ),
    "named alias": lambda w: named_file(w, f'[models]\nmine = "{w.named.url}#m"\n', "--large", "mine"),
    "named default": lambda w: named_file(w, f'[answer]\nlarge = "{w.named.url}#m"\n'),
    "named, in the working directory": lambda w: file_here(
        w, f'[answer]\nlarge = "{w.named.url}#m"\n', "--config", "lmcot.toml"
    ),
    "OPENAI_BASE_URL": base_url,
}


@pytest.mark.parametrize("way", KEYED.values(), ids=KEYED.keys())
def test_a_key_goes_to_the_host_that_the_user_names_and_nowhere_else(
    world: World, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    result = answer(*way(world))
    assert result.exit_code == 0, result.stderr
    assert world.named.requests
    assert all(found(KEY, request) for request in world.named.requests)
    assert f"asks {world.named.place} with the key of OPENAI_API_KEY" in result.stderr
    assert world.named.holds(FOR_OPENAI) == (way is base_url)
    assert world.stranger.requests == []
    assert world.leaks(KEY, result) == []
    assert (world.root / "cache" / "lmcot" / "replies.sqlite").exists()


REFUSED: dict[str, Way] = {
    "alias called as a spec": lambda w: file_here(
        w, f'[models]\n"openai:gpt-4o-mini" = "{w.stranger.url}#x"\n', "--large", "openai:gpt-4o-mini"
    ),
    "alias called builtin": lambda w: file_here(
        w, f'[models]\n"builtin:large" = "{w.stranger.url}#x"\n', "--large", "builtin:large"
    ),
    "alias called as the default": lambda w: file_here(w, f'[models]\n"builtin:large" = "{w.stranger.url}#x"\n'),
    "alias called as a model of the catalogue": lambda w: file_here(
        w, f'[models]\n"qwen3-4b" = "{w.stranger.url}#x"\n', "--large", "qwen3-4b"
    ),
    "alias": lambda w: file_here(w, f'[models]\nmine = "{w.stranger.url}#x"\n', "--large", "mine"),
    "alias that is not used": lambda w: file_here(
        w, f'[models]\nmine = "{w.stranger.url}#x"\n', "--large", "scripted:script.jsonl"
    ),
    "large": lambda w: file_here(w, f'[answer]\nlarge = "{w.stranger.url}#x"\n'),
    "small": lambda w: file_here(
        w, f'[answer]\nsmall = "{w.stranger.url}#x"\n', "--large", "scripted:script.jsonl", "--method", "guided"
    ),
    "large of OpenAI": lambda w: file_here(w, '[answer]\nlarge = "openai:gpt-5-pro"\n'),
    "download": lambda w: file_here(w, '[answer]\nlarge = "hf:a/b:c.gguf"\n'),
    "download of a folder": lambda w: file_here(w, '[answer]\nlarge = "transformers:a/b"\n'),
    "download of an adapter": lambda w: file_here(w, '[answer]\nlarge = "transformers:.+a/b"\n'),
    "prices": lambda w: file_here(
        w, f'[prices]\n"{w.named.url}#m" = {{ prompt = 0, completion = 0 }}\n', "--large", f"{w.named.url}#m"
    ),
    "prompts": lambda w: file_here(w, '[answer]\nprompts = "mine"\n', "--large", f"{w.named.url}#m"),
    "examples": lambda w: file_here(
        w, '[answer]\nshots = 1\nshots_from = "/etc/passwd"\n', "--large", f"{w.named.url}#m"
    ),
    "system message": lambda w: file_here(
        w, '[answer]\nlarge_system = "/etc/hostname"\n', "--large", f"{w.named.url}#m"
    ),
    "schema": lambda w: file_here(
        w, '[answer]\nanswer_kind = "json:/etc/hostname"\n', "--large", f"{w.named.url}#m"
    ),
    "request fields": lambda w: file_here(
        w, '[answer]\nrequest_fields = ["user=1"]\n', "--large", f"{w.named.url}#m"
    ),
    "reply cache": lambda w: file_here(
        w, '[answer]\nreply_cache = "replies.sqlite"\n', "--large", f"{w.named.url}#m"
    ),
    "reply cache, named": lambda w: file_here(
        w,
        '[answer]\nreply_cache = "replies.sqlite"\n',
        "--large", f"{w.named.url}#m", "--config", "lmcot.toml",
    ),
    "keys": lambda w: file_here(
        w, f'[keys]\n"{w.named.place}" = {{ env = "OTHER_KEY" }}\n', "--large", f"{w.named.url}#m"
    ),
    "keys, named": lambda w: named_file(
        w, f'[keys]\n"{w.named.place}" = {{ env = "OTHER_KEY" }}\n', "--large", f"{w.named.url}#m"
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", REFUSED.values(), ids=REFUSED.keys())
def test_what_a_file_of_the_working_directory_reaches_is_refused_in_a_line(world: World, way: Way) -> None:
    result = answer(*way(world))
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert "lmcot.toml" in result.stderr
    assert world.named.requests == world.stranger.requests == []
    assert not (world.work / "out.jsonl").exists()
    assert world.leaks(KEY, result) == world.leaks(OTHER_KEY, result) == []


def test_a_refusal_says_what_the_file_would_do_and_what_to_type(world: World) -> None:
    world.here(f'[answer]\nlarge = "{world.stranger.url}#x"\nprompts = "mine\\u001b[2J"\n')
    result = answer()
    assert f"would send questions to {world.stranger.place} (with the key of OPENAI_API_KEY)" in result.stderr
    assert "take prompts from" in result.stderr
    assert "--config lmcot.toml" in result.stderr
    assert "\x1b" not in result.stderr


def test_a_redirection_takes_nothing_to_another_host(world: World) -> None:
    world.named.redirect = world.stranger.url.removesuffix("/v1")
    result = answer("--large", f"{world.named.url}#m", "--total-timeout", "3")
    assert result.exit_code == 1
    assert world.named.holds(KEY)
    assert world.stranger.requests == []
    assert world.leaks(KEY, result) == []


@pytest.mark.parametrize("beside", ["", "[answer]\nsamples = 1\n"], ids=["alone", "beside a file here"])
def test_a_host_with_a_key_of_its_own_gets_that_and_no_other(world: World, beside: str) -> None:
    world.own(f'[keys]\n"{world.named.place}" = {{ env = "OTHER_KEY" }}\n')
    if beside:
        world.here(beside)
    words = ("--method", "guided", "--small", f"{world.stranger.url}#m", "--large", f"{world.named.url}#m")
    result = answer(*words)
    assert result.exit_code == 0, result.stderr
    assert all(found(OTHER_KEY, request) for request in world.named.requests)
    assert all(found(KEY, request) for request in world.stranger.requests)
    assert not world.named.holds(KEY)
    assert not world.stranger.holds(OTHER_KEY)
    assert f"asks {world.named.place} with the key of OTHER_KEY" in result.stderr
    assert world.leaks(KEY, result) == world.leaks(OTHER_KEY, result) == []


def test_a_host_whose_own_key_is_not_set_gets_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTHER_KEY")
    world.own(f'[keys]\n"{world.named.place}" = {{ env = "OTHER_KEY" }}\n')
    result = answer("--large", f"{world.named.url}#m")
    assert result.exit_code == 0, result.stderr
    assert not world.named.holds("uthorization")
    assert not world.named.holds(KEY)


def test_the_key_of_a_command_goes_to_the_host_that_the_command_line_names(world: World) -> None:
    (world.root / "key").write_text(OTHER_KEY)
    world.own(f'[models]\nwriter = "{world.stranger.url}#m"\n')
    words = ("--method", "guided", "--small", "writer", "--large", f"{world.named.url}#m")
    result = answer(*words, "--key-command", f"cat {world.root / 'key'}")
    (world.root / "key").unlink()
    assert result.exit_code == 0, result.stderr
    assert all(found(OTHER_KEY, request) for request in world.named.requests)
    assert all(found(KEY, request) for request in world.stranger.requests)
    assert not world.stranger.holds(OTHER_KEY)
    assert f"asks {world.named.place} with the key of --key-command" in result.stderr
    assert f"asks {world.stranger.place} with the key of OPENAI_API_KEY" in result.stderr
    assert world.leaks(KEY, result) == world.leaks(OTHER_KEY, result) == []


def test_a_file_here_is_used_once_it_is_confirmed_and_asked_about_when_it_has_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.here(f'[answer]\nlarge = "{world.named.url}#m"\n')
    asked: list[Path] = []
    monkeypatch.setattr(settings_file, "ask_on_terminal", lambda file, reached: not asked.append(file.place))
    first, again = answer(), answer("--overwrite")
    assert (first.exit_code, again.exit_code) == (0, 0), first.stderr
    assert asked == [world.work / "lmcot.toml"]
    assert world.leaks(KEY, first) == world.leaks(KEY, again) == []

    monkeypatch.undo()
    world.here(f'[answer]\nlarge = "{world.stranger.url}#m"\n')
    assert answer().exit_code == 1
    assert world.stranger.requests == []


def train(*words: str) -> Result:
    return CliRunner().invoke(app, ["train", *words])


TRAIN: dict[str, Way] = {
    "command line": lambda w: ("rationales", "q.jsonl", "-o", "r.jsonl", "--large", f"{w.named.url}#m"),
    "own alias": lambda w: own_file(
        w, f'[models]\nmine = "{w.named.url}#m"\n', "rationales", "q.jsonl", "-o", "r.jsonl", "--large", "mine"
    ),
    "recipe": lambda w: (
        "all", "q.jsonl", "--config",
        w.elsewhere(f'output = "runs"\n[rationales]\nlarge = "{w.named.url}#m"\n'),
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", TRAIN.values(), ids=TRAIN.keys())
def test_a_teacher_is_given_the_key_of_its_host(world: World, way: Way) -> None:
    result = train(*way(world))
    assert result.exit_code == 0, result.stderr
    assert all(found(KEY, request) for request in world.named.requests)
    assert f"asks {world.named.place} with the key of OPENAI_API_KEY" in result.stderr
    assert world.stranger.requests == []
    assert world.leaks(KEY, result) == []


@pytest.mark.parametrize("command", ["rationales", "refine"])
def test_training_uses_no_unconfirmed_file(world: World, command: str) -> None:
    world.here(f'[models]\nmine = "{world.stranger.url}#x"\n')
    more = ("--from", "run") if command == "refine" else ()
    result = train(command, "q.jsonl", "-o", "r", "--large", "mine", *more)
    assert result.exit_code == 1
    assert "was found here and is not confirmed" in result.stderr
    assert world.stranger.requests == []


def test_the_large_lm_of_refining_and_of_verification_is_given_the_key_of_its_host(world: World) -> None:
    from lmcot_cli.config import load_config
    from lmcot_export.verify.answers import answer_with
    from lmcot_export.verify.options import VerifyOptions
    from lmcot_train.refine.options import from_settings
    from lmcot_train.refine.run import _open_large

    world.own(
        f'[models]\nmine = "{world.named.url}#m"\n[keys]\n"{world.named.place}" = {{ env = "OTHER_KEY" }}\n'
    )
    own = {"questions": Path("q.jsonl"), "start": Path("s"), "output": Path("o")}
    _open_large(from_settings({"large": "mine"}, load_config(), **own)).close()
    refining = len(world.named.requests)
    answer_with("scripted:script.jsonl", VerifyOptions(Path("q.jsonl"), large=f"{world.named.url}#m"))
    assert 0 < refining < len(world.named.requests)
    assert all(found(OTHER_KEY, request) for request in world.named.requests)
    assert not world.named.holds(KEY)


def test_a_peer_of_the_benchmark_is_given_no_key(world: World) -> None:
    from lmcot_cli.errors import ModelError
    from tools.bench.server import find_server

    with pytest.raises(ModelError, match="no llama-server"):
        find_server(world.named.url, None)  # type: ignore[arg-type]  # it does not come to a comparison
    assert world.named.requests
    assert not world.named.holds(KEY)


@pytest.mark.parametrize("words", [("--large", "qwen3-4b"), ("--large", "hf:a/b:c.gguf")])
def test_the_hub_is_given_no_key_of_an_endpoint(world: World, words: tuple[str, ...]) -> None:
    # In a process of its own: huggingface_hub reads its environment when it is imported.
    variables: dict[str, Any] = {**os.environ, "HF_ENDPOINT": world.named.url.removesuffix("/v1")}
    variables |= {
        "HF_HOME": str(world.root / "hub"),
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "*",
        "OPENAI_LOG": "debug",
    }
    variables |= {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "lmcot_cli", "answer", "q.jsonl", "--method", "standard", *words]
    done = subprocess.run(command, env=variables, capture_output=True, check=False)
    assert f" from {world.named.place} without a token" in done.stderr.decode()
    assert world.named.requests
    assert not world.named.holds(KEY)
    assert not found(KEY, done.stdout + done.stderr)


def test_the_search_finds_what_it_looks_for(world: World) -> None:
    (world.work / "leak").write_text(base64.b64encode(KEY.encode()).decode())
    result = answer("--large", f"{world.named.url}#m")
    assert [Path(place).name for place in world.leaks(KEY, result)] == ["leak"]
