"""A secret goes into the request and nowhere else: no file, no output, no message."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_server import text_of

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.backend import EndpointBackend

CANARY = "sk-canary-7f3a9c51e2"
FORMS = (CANARY.encode(), CANARY[3:].encode(), base64.b64encode(CANARY.encode())[:-4])


def run(folder: Path, url: str, *more: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "XDG", "HTTP"))
    }
    variables |= {"XDG_CACHE_HOME": str(folder / "cache"), "OPENAI_LOG": "debug", **environment}
    words = [
        sys.executable,
        "-m",
        "lmcot_cli",
        "answer",
        "q.jsonl",
        "-o",
        "out.jsonl",
        "--method",
        "standard",
    ]
    words += ["--large", f"{url}#m", "--cache", "--samples", "2", "--request-timeout", "1", *more]
    return subprocess.run(words, cwd=folder, env=variables, capture_output=True, timeout=60)


def found(folder: Path, done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """Name every place that holds the canary, or a part or an encoding of it."""
    places = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    places |= {"stdout": done.stdout, "stderr": done.stderr}
    return [place for place, content in places.items() if any(form in content for form in FORMS)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    rows = [
        {"question": f"Is this {'malformed' if i % 5 == 0 else 'fine'}, {i}?", "context": "."}
        for i in range(10)
    ]
    (tmp_path / "work" / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "work"


def test_a_key_is_nowhere_after_a_run_with_faults_and_echoes(folder: Path, serve: Callable[..., Any]) -> None:
    server = serve(key=CANARY, echo=True, broken=0.3, dropped=0.1, seed=2)
    done = run(folder, server.url, OPENAI_API_KEY=CANARY)
    records = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert done.returncode == 1, done.stderr.decode()
    assert len(records) == 10
    assert sum("[key]" in str(record["error"]) for record in records) == 2, (
        "errors that repeat the key were met"
    )
    assert sum("[key]" in str(record["samples"]) for record in records) == 8, "and replies that do"
    assert (folder / "cache" / "lmcot" / "replies.sqlite").exists()
    assert found(folder, done) == []


@pytest.mark.parametrize("key", ["prompt", "-"])
def test_a_stand_in_for_a_key_changes_no_reply(
    serve: Callable[..., Any],
    connect: Callable[..., EndpointBackend],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    key: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    server = serve(key=key, echo=True)
    for cached in (False, True):
        backend = connect(server.url, reply_cache=tmp_path / "replies.sqlite")
        (reply,) = backend.complete([Request("a prompt", 0)], Sampling())
        assert isinstance(reply, Completion)
        assert (reply.text, reply.cached) == (f"{text_of('a prompt', 0)}bearer {key}", cached)
        assert reply.logprob == -0.5


@pytest.mark.parametrize("pieces", ["events", "parts"])
def test_a_key_that_comes_in_pieces_is_nowhere(
    monkeypatch: pytest.MonkeyPatch,
    answering: Callable[..., str],
    connect: Callable[..., EndpointBackend],
    pieces: str,
) -> None:
    start, end = CANARY[:7], CANARY[7:]
    if pieces == "events":
        texts = [{"content": text, "reasoning_content": text} for text in (start, end)]
        choices = [{"delta": text} for text in texts] + [{"delta": {}, "finish_reason": "stop"}]
        body = "".join(f"data: {json.dumps({'choices': [choice]})}\n\n" for choice in choices)
    else:
        parts = [{"type": "text", "text": text} for text in (start, end)]
        body = json.dumps({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]})
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    url = answering(lambda path, headers, content: (200, {}, body.encode()))
    (reply,) = connect(url).complete([Request("a prompt", 0)], Sampling())
    assert isinstance(reply, Completion)
    assert reply.text == "[key]"
    assert reply.thought is None or reply.thought.text == "[key]"


def test_a_refused_key_is_nowhere_either(folder: Path, serve: Callable[..., Any]) -> None:
    done = run(folder, serve(key="another").url, OPENAI_API_KEY=CANARY)
    assert done.returncode == 1
    assert b"refused the key (401)" in done.stderr
    assert found(folder, done) == []


def test_the_key_of_a_command_is_nowhere_either(
    folder: Path, serve: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(CANARY)
    done = run(folder, serve(key=CANARY, echo=True).url, "--key-command", f"cat {tmp_path / 'key'}")
    assert b"answered 8 of 10 rows" in done.stderr, done.stderr.decode()
    assert found(folder, done) == []


def test_the_search_finds_what_it_looks_for(folder: Path, serve: Callable[..., Any]) -> None:
    (folder / "leak").write_text(f"Bearer {CANARY}")
    done = run(folder, serve().url)
    assert [Path(place).name for place in found(folder, done)] == ["leak"]
