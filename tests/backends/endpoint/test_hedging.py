"""Calls that are never answered, and honest ones that take long: against real servers, in processes or threads."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pytest
from fault_server import SIX_FAULTS, text_of
from replies import chat

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint import backoff, gate, patience
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.backends.endpoint.rates import Rates

Serve = Callable[..., Any]
Connect = Callable[..., EndpointBackend]

GREEDY = Sampling(max_tokens=8)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for tenths of seconds in place of seconds."""
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(patience, "UNKNOWN", 1.0)
    monkeypatch.setattr(patience, "SOONEST", 0.4)


def ask(backend: EndpointBackend, requests: Sequence[Request], sampling: Sampling = GREEDY) -> list[Any]:
    """Hand requests in as the pipeline does, no more than the window at a time; no reply may come twice."""
    replies: dict[int, Any] = {}
    waiting = list(enumerate(requests))[::-1]
    while len(replies) < len(requests):
        while waiting and backend.pending < backend.window:
            backend.submit(*waiting.pop(), sampling)
        for ticket, reply in backend.poll():
            assert ticket not in replies
            replies[ticket] = reply
    return [replies[ticket] for ticket in range(len(requests))]


def prompts(count: int) -> list[Request]:
    return [Request(f"prompt {number}", number % 5) for number in range(count)]


def assert_right(requests: Sequence[Request], replies: Sequence[Any]) -> None:
    wrong = [
        reply
        for request, reply in zip(requests, replies, strict=True)
        if not isinstance(reply, Completion) or reply.text != text_of(request.prompt, request.seed)
    ]
    assert wrong == []


ROWS = int(os.environ.get("LMCOT_SILENT_ROWS", "200"))


@pytest.mark.parametrize("seed", range(2))
def test_calls_that_are_never_answered_hold_up_nothing(serve: Serve, connect: Connect, seed: int) -> None:
    faults = {name: share for name, share in asdict(SIX_FAULTS).items() if share}
    server = serve(**faults | {"silent": 0.05, "latency": 0.01, "seed": seed})
    backend = connect(server.url, request_timeout=120.0, total_timeout=600.0)
    requests = prompts(ROWS)
    started = time.monotonic()
    assert_right(requests, ask(backend, requests))
    assert time.monotonic() - started < 30 + ROWS / 6, "far less than the timeout of one call"
    silent, counters = server.stats().faults["silent"], backend.counters
    assert silent <= counters.unanswered <= 1.1 * silent + 5
    assert 0 < counters.hedged <= 1.3 * silent + 5


def test_where_half_of_all_calls_are_silent_the_rest_goes_on(serve: Serve, connect: Connect) -> None:
    server = serve(silent=0.5, latency=0.01, seed=3)
    requests = prompts(20)
    assert_right(requests, ask(connect(server.url, request_timeout=120.0, total_timeout=600.0), requests))


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_calls_are_in_flight_than_the_user_allows(serve: Serve, connect: Connect, most: int) -> None:
    server = serve(silent=0.05, latency=0.01, seed=1)
    requests = prompts(60)
    backend = connect(server.url, max_in_flight=most, request_timeout=120.0)
    assert_right(requests, ask(backend, requests))
    stats = server.stats()
    assert stats.faults["silent"] > 0
    assert stats.most_at_once <= most + 1, "one that was hung up on may be seen to end late"


def test_limits_per_minute_hold(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "Rates", partial(Rates, period=6.0))
    server = serve(silent=0.05, latency=0.005, limit=100, period=6.0, seed=2)
    requests = prompts(150)
    backend = connect(server.url, rpm=100, request_timeout=120.0)
    assert_right(requests, ask(backend, requests))
    stats = server.stats()
    assert stats.over_limit == 0
    assert stats.most_in_a_period <= 100
    assert backend.counters.requests == stats.requests + 1, "and the list of models"


def test_samples_of_one_call_come_once_each(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine a row's samples may come further apart than is usually waited for.
    monkeypatch.setattr("lmcot_cli.backends.endpoint.sharing.GATHERING_SECONDS", 0.5)
    server = serve(choices=8, silent=0.1, latency=0.005, seed=4)
    backend = connect(server.url, request_timeout=120.0)
    requests = [Request(f"prompt {row}", 10 * row + sample) for row in range(40) for sample in range(4)]
    replies = ask(backend, requests, Sampling(temperature=0.7, max_tokens=8))
    for request, reply in zip(requests, replies, strict=True):
        first, index = 10 * (request.seed // 10), request.seed % 10
        assert reply.text == text_of(request.prompt, first, index)
    assert server.stats().faults["silent"] > 0


def test_a_reply_is_kept_once_and_what_may_be_billed_is_told(
    serve: Serve, connect: Connect, tmp_path: Any
) -> None:
    server = serve(silent=0.1, latency=0.005, seed=5)
    requests = prompts(60)
    with connect(server.url, reply_cache=tmp_path / "replies", request_timeout=120.0) as backend:
        replies = ask(backend, requests)
    assert_right(requests, replies)
    lost = sum(reply.lost_calls for reply in replies)
    assert lost > 0
    assert backend.counters.lost_prompt_tokens == 7 * lost
    again = connect(server.url, reply_cache=tmp_path / "replies")
    assert [replace(reply, cached=False) for reply in ask(again, requests)] == [
        replace(reply, lost_calls=0) for reply in replies
    ]
    assert again.counters.requests == 1, "the list of models"


def test_the_very_first_call_may_be_silent(answering: Callable[..., str], connect: Connect) -> None:
    asked = Counter[str]()

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked[path] += 1
        if path.endswith("completions") and asked[path] == 1:
            time.sleep(15)
        return (404, {}, b"") if path == "/v1/models" else (200, {}, json.dumps(chat()).encode())

    started = time.monotonic()
    connect(answering(answer), request_timeout=120.0)
    assert time.monotonic() - started < 10
    assert asked["/v1/chat/completions"] == 2


class Honest:
    """Answers every call, when its turn has come.

    Args:
        seconds: How long a reply takes, by its call and by how many are at work.
        slots: How many it works on at once.
    """

    def __init__(self, seconds: Callable[[dict[str, Any], int], float], slots: int = 1000) -> None:
        self.seconds, self.slots = seconds, threading.Semaphore(slots)
        self.counting = threading.Lock()
        self.calls = self.working = 0

    def __call__(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/v1/models":
            return 404, {}, b""
        call = json.loads(body)
        with self.counting:
            self.calls += 1
            self.working += 1
        with self.slots:
            time.sleep(self.seconds(call, self.working))
        with self.counting:
            self.working -= 1
        tokens = 4000 if "long" in call["messages"][0]["content"] else 4
        usage = {"prompt_tokens": 7, "completion_tokens": tokens}
        return 200, {}, json.dumps(chat() | {"usage": usage}).encode()


def completed(replies: Sequence[Any]) -> bool:
    return all(isinstance(reply, Completion) for reply in replies)


def test_a_server_that_works_on_one_call_at_a_time_is_asked_once_for_each(
    answering: Callable[..., str], connect: Connect
) -> None:
    server = Honest(lambda call, working: 0.03, slots=1)
    backend = connect(answering(server), request_timeout=120.0)
    assert completed(ask(backend, prompts(120)))
    assert server.calls <= 1.04 * 121


def test_latency_that_grows_with_load_is_put_up_with(answering: Callable[..., str], connect: Connect) -> None:
    server = Honest(lambda call, working: 0.02 * working)
    backend = connect(answering(server), request_timeout=120.0)
    assert completed(ask(backend, prompts(200)))
    assert server.calls <= 1.04 * 201


def test_a_server_that_slows_down_for_all_is_asked_little_more(
    answering: Callable[..., str], connect: Connect
) -> None:
    server = Honest(lambda call, working: 0.01 if server.calls < 150 else 2.5)
    backend = connect(answering(server), request_timeout=120.0)
    assert completed(ask(backend, prompts(250)))
    assert server.calls <= 1.04 * 251


def test_a_long_reply_after_short_ones_is_waited_for(answering: Callable[..., str], connect: Connect) -> None:
    server = Honest(lambda call, working: 4.0 if "long" in call["messages"][0]["content"] else 0.02)
    backend = connect(answering(server), request_timeout=120.0)
    sampling = Sampling(max_tokens=4096)
    requests = [*prompts(150), Request("long", 0), *prompts(100)]
    assert completed(ask(backend, requests, sampling))
    assert server.calls == 1 + len(requests)
    assert backend.counters.hedged == backend.counters.unanswered == 0


def test_a_model_that_loads_before_its_first_reply_is_asked_a_few_times(
    answering: Callable[..., str], connect: Connect
) -> None:
    """Six times what is waited for where nothing is known, as a minute is in earnest."""
    server = Honest(lambda call, working: 6.0 if server.calls < 4 else 0.02)
    backend = connect(answering(server), request_timeout=120.0)
    asked_first = server.calls
    assert completed(ask(backend, prompts(100)))
    assert asked_first <= 3
    assert server.calls <= asked_first + 104
