from __future__ import annotations

import json
import logging
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.backends.endpoint.cache import ReplyCache, default_file, digest
from lmcot_cli.errors import ModelError

REPLY = Completion("In France. ☃", 9, 2, "stop", -0.5)


def test_a_reply_is_found_again_also_by_another_process(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "new" / "replies.sqlite")
    cache.keep(digest("a"), REPLY)
    assert cache.find(digest("a")) == REPLY
    assert cache.find(digest("b")) is None
    other = ReplyCache(tmp_path / "new" / "replies.sqlite")
    assert other.find(digest("a")) == REPLY
    for opened in (cache, other, cache):
        opened.close()


def test_parts_do_not_run_into_each_other() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("a\0b", "c")}) >= 3


def test_the_file_is_for_the_user_alone(tmp_path: Path) -> None:
    ReplyCache(tmp_path / "replies.sqlite").close()
    assert stat.S_IMODE((tmp_path / "replies.sqlite").stat().st_mode) == 0o600


def test_replies_lie_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_file() == tmp_path / "lmcot" / "replies.sqlite"


def test_a_process_that_is_killed_loses_no_reply_that_it_kept(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    program = f"""
import os, signal
from pathlib import Path
from lmcot_cli.backends.base import Completion
from lmcot_cli.backends.endpoint.cache import ReplyCache, digest
cache = ReplyCache(Path({str(path)!r}))
for number in range(1000):
    cache.keep(digest(str(number)), Completion(str(number), 1, 1, "stop", None))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60)
    assert done.returncode == -9
    cache = ReplyCache(path)
    assert all(cache.find(digest(str(number))) for number in range(1000))
    cache.close()


def test_several_threads_of_several_caches_write_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def write(name: str) -> None:
        cache = ReplyCache(tmp_path / "replies.sqlite")
        for number in range(200):
            cache.keep(digest(name, str(number)), REPLY)
        cache.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    cache = ReplyCache(tmp_path / "replies.sqlite")
    assert all(cache.find(digest(name, str(number))) for name in "abcd" for number in range(200))
    assert caplog.records == []
    cache.close()


def test_programs_that_start_at_once_share_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    program = f"""
import sys
from pathlib import Path
from lmcot_cli.backends.base import Completion
from lmcot_cli.backends.endpoint.cache import ReplyCache, digest
for number in range(20):
    cache = ReplyCache(Path({str(path)!r}))
    cache.keep(digest(sys.argv[1], str(number)), Completion(str(number), 1, 1, "stop", None))
    cache.close()
"""
    names = ["a", "b", "c", "d"]
    started = [
        subprocess.Popen([sys.executable, "-c", program, name], stderr=subprocess.PIPE, text=True)
        for name in names
    ]
    assert [process.communicate(timeout=120)[1] for process in started] == [""] * len(names)
    assert [process.returncode for process in started] == [0] * len(names)
    cache = ReplyCache(path)
    assert all(cache.find(digest(name, str(number))) for name in names for number in range(20))
    cache.close()


def _other_program(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE bookmarks (url TEXT)")
    database.commit()
    database.close()


def _damaged(path: Path) -> None:
    cache = ReplyCache(path)
    for number in range(500):
        cache.keep(digest(str(number)), REPLY)
    cache.close()
    content = bytearray(path.read_bytes())
    content[30:3000] = os.urandom(2970)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"no database at all" * 100), "file is not a database"),
        (_other_program, "another program's"),
        (_damaged, "cannot be used as a reply cache"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to(path / "itself"), "Not a directory|Too many levels"),
    ],
)
def test_a_file_that_is_no_reply_cache_is_refused_in_one_line_and_left_alone(
    tmp_path: Path, spoil: object, message: str
) -> None:
    path = tmp_path / "replies.sqlite"
    assert callable(spoil)
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ModelError, match=message) as caught:
        ReplyCache(path)
    assert "--no-cache" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else None)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"the reply cache cannot be written: .*; name another file"):
        ReplyCache(tmp_path / "file" / "replies.sqlite")


def test_a_cache_that_is_locked_meanwhile_costs_replies_but_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmcot_cli.backends.endpoint.cache._BUSY_SECONDS", 0.05)
    cache = ReplyCache(tmp_path / "replies.sqlite")
    other = sqlite3.connect(tmp_path / "replies.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    cache.keep(digest("a"), REPLY)
    cache.keep(digest("b"), REPLY)
    other.execute("ROLLBACK")
    cache.keep(digest("c"), REPLY)
    assert [cache.find(digest(name)) for name in "abc"] == [None, None, REPLY]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the reply cache cannot be written (database is locked)" in caplog.text
    other.close()
    cache.close()


def test_an_entry_that_cannot_be_read_is_asked_for_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ReplyCache(tmp_path / "replies.sqlite")
    database = sqlite3.connect(tmp_path / "replies.sqlite")
    whole = asdict(REPLY)
    entries = ["{torn", '{"strange": 1}', "[]", "[" * 100_000, json.dumps(whole | {"text": 5})]
    entries += [json.dumps(whole | {"prompt_tokens": "a"}), json.dumps(whole | {"logprob": "z"})]
    names = "abcdefg"
    for name, entry in zip(names, entries, strict=True):
        database.execute("INSERT INTO replies VALUES (?, ?)", (digest(name), entry))
    database.commit()
    database.close()
    assert [cache.find(digest(name)) for name in names] == [None] * len(names)
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
    cache.close()


def test_a_rerun_costs_nothing_and_no_two_samples_share_a_reply(
    serve: Callable[..., Any], connect: Callable[..., EndpointBackend], tmp_path: Path
) -> None:
    server = serve(choices=8)
    sampled = Sampling(temperature=0.7, max_tokens=8)
    requests = [Request("the same prompt", seed) for seed in range(5)]
    cache = tmp_path / "replies.sqlite"
    first = connect(server.url, reply_cache=cache).complete(requests[:3], sampled)
    asked = server.stats().requests
    assert len({reply.text for reply in first if isinstance(reply, Completion)}) == 3

    again = connect(server.url, reply_cache=cache)
    kept = [replace(reply, cached=True) for reply in first if isinstance(reply, Completion)]
    assert again.complete(requests[:3], sampled) == kept
    assert server.stats().requests == asked, "the probe's words included"
    assert again.counters.cache_hits == 4
    assert again.counters.prompt_tokens == again.counters.completion_tokens == 0

    more = again.complete(requests, sampled)
    assert more[:3] == kept
    assert [reply.cached for reply in more if isinstance(reply, Completion)] == [True] * 3 + [False] * 2
    assert again.counters.cache_hits == 4 + 3
    assert len({reply.text for reply in more if isinstance(reply, Completion)}) == 5


@pytest.mark.parametrize(
    "changed",
    [
        (Request("other", 0), Sampling()),
        (Request("prompt", 1), Sampling()),
        (Request("prompt", 0), Sampling(temperature=0.5)),
        (Request("prompt", 0), Sampling(max_tokens=9)),
        (Request("prompt", 0), Sampling(stop=("x",))),
    ],
)
def test_another_request_has_a_reply_of_its_own(
    serve: Callable[..., Any],
    connect: Callable[..., EndpointBackend],
    tmp_path: Path,
    changed: tuple[Request, Sampling],
) -> None:
    backend = connect(serve().url, reply_cache=tmp_path / "replies.sqlite")
    backend.complete([Request("prompt", 0)], Sampling())
    backend.complete([changed[0]], changed[1])
    assert backend.counters.cache_hits == 0


def test_another_model_or_endpoint_has_replies_of_its_own(
    serve: Callable[..., Any], connect: Callable[..., EndpointBackend], tmp_path: Path
) -> None:
    url = serve().url
    for place in ((url, "m"), (url, "another"), (serve().url, "m")):
        backend = connect(*place, reply_cache=tmp_path / "replies.sqlite")
        assert backend.complete([Request("prompt", 0)], Sampling())
        assert backend.counters.cache_hits == 0


def test_replies_of_this_machine_are_kept_only_on_request(
    serve: Callable[..., Any], connect: Callable[..., EndpointBackend], tmp_path: Path
) -> None:
    server = serve()
    connect(server.url).complete([Request("prompt", 0)], Sampling())
    assert not default_file().exists()
    connect(server.url, cache=True).complete([Request("prompt", 0)], Sampling())
    assert default_file().exists()


def test_what_a_killed_run_had_received_is_not_paid_for_again(
    serve: Callable[..., Any], connect: Callable[..., EndpointBackend], tmp_path: Path
) -> None:
    server, cache = serve(latency=0.01), tmp_path / "replies.sqlite"
    program = f"""
import os, signal
from pathlib import Path
from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.backends.endpoint.options import EndpointOptions
backend = EndpointBackend(Address({server.url!r}, "m"), EndpointOptions(reply_cache=Path({str(cache)!r})))
for number in range(100):
    backend.submit(number, Request(str(number), 0), Sampling())
seen = 0
while seen < 30:
    seen += len(backend.poll())
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -9
    backend = connect(server.url, reply_cache=cache)
    backend.complete([Request(str(number), 0) for number in range(100)], Sampling())
    assert backend.counters.cache_hits >= 31
    # Those alone that were in flight when it was killed were answered twice.
    assert server.stats().answered.get("2", 0) <= 100 - 31
    assert "3" not in server.stats().answered
