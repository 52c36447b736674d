"""The whole backend against servers that fail, in processes of their own."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from fault_server import text_of
from replies import chat, fuzzed

from lmcot_cli.backends.base import Completion, Reply, Request, Sampling
from lmcot_cli.backends.endpoint import backoff, breaker, dispatch
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.backends.endpoint.probe import QUESTION
from lmcot_cli.backends.endpoint.rates import Rates
from lmcot_cli.errors import ModelError, RowError

Serve = Callable[..., Any]
Connect = Callable[..., EndpointBackend]

GREEDY = Sampling(max_tokens=8)
SAMPLED = Sampling(temperature=0.7, max_tokens=8)
ALL_FAULTS = {
    "refused": 0.10, "broken": 0.05, "dropped": 0.03, "truncated": 0.02, "late": 0.02, "empty": 0.01,
}  # fmt: skip


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon: what may take a run of hours a minute is not to take a test so long."""
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.02)


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


def test_every_request_gets_its_own_reply_from_a_server_that_fails_in_every_way(
    serve: Serve, connect: Connect
) -> None:
    server = serve(**ALL_FAULTS, retry_after=0.05, late_seconds=2.5, latency=0.01, seed=1)
    backend = connect(server.url, request_timeout=2.0, total_timeout=60.0)
    requests = prompts(400)
    assert_right(requests, ask(backend, requests))
    stats = server.stats()
    assert set(stats.faults) == {*ALL_FAULTS, "none"}
    assert stats.answered == {"1": 401}, "each was answered well once, and the probe"
    assert backend.counters.requests == stats.requests + 1, "and the list of models"
    counters = backend.counters
    assert counters.retries + counters.hedged == stats.requests - 401
    assert backend.counters.completion_tokens == 2 * 401


def test_no_period_ever_holds_more_requests_than_the_limit(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "Rates", partial(Rates, period=5.0))
    server = serve(**ALL_FAULTS, retry_after=0.05, late_seconds=1.5, latency=0.005, limit=200, period=5.0)
    backend = connect(server.url, request_timeout=1.0, total_timeout=60.0, rpm=200)
    requests = prompts(200)
    assert_right(requests, ask(backend, requests))
    stats = server.stats()
    assert stats.over_limit == 0
    assert stats.most_in_a_period <= 200 < stats.requests


def test_connections_are_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(latency=0.002)
    ask(connect(server.url, max_in_flight=4), prompts(100))
    assert server.stats().connections <= 4 + 1, "four, and the one that asks"


def test_no_more_calls_are_in_flight_than_the_user_allows(serve: Serve, connect: Connect) -> None:
    server = serve(latency=0.01)
    backend = connect(server.url, max_in_flight=3)
    ask(backend, prompts(40))
    assert server.stats().most_at_once == 3


def test_a_server_with_little_room_is_found_out(serve: Serve, connect: Connect) -> None:
    server = serve(latency=0.05, room=20, retry_after=0.02)
    requests = prompts(400)
    assert_right(requests, ask(connect(server.url), requests))
    stats = server.stats()
    assert stats.most_at_once > 15
    assert stats.over_limit < 0.5 * 400


def test_several_samples_of_a_prompt_are_asked_for_in_one_call_where_the_server_honours_n(
    serve: Serve, connect: Connect
) -> None:
    server = serve(choices=8)
    backend = connect(server.url)
    before = backend.counters.requests
    requests = [Request(f"prompt {row}", 10 * row + sample) for row in range(5) for sample in range(4)]
    replies = backend.complete(requests, SAMPLED)
    assert [reply.text for reply in replies if isinstance(reply, Completion)] == [
        text_of(f"prompt {row}", 10 * row, sample) for row in range(5) for sample in range(4)
    ]
    assert backend.counters.requests - before == 5
    first = [reply for reply in replies[:4] if isinstance(reply, Completion)]
    assert [reply.prompt_tokens for reply in first] == [7, 0, 0, 0]
    assert [reply.seeded for reply in first] == [True, False, False, False]


def test_each_sample_is_asked_for_by_itself_where_the_server_does_not(serve: Serve, connect: Connect) -> None:
    server = serve(choices=1)
    backend = connect(server.url, max_in_flight=1)
    before = backend.counters.requests
    requests = [Request(f"prompt {row}", 10 * row + sample) for row in range(5) for sample in range(4)]
    assert_right(requests, backend.complete(requests, SAMPLED))
    assert backend.counters.requests - before == 20, "the first call tells, and costs none more"


@pytest.mark.parametrize("refused", [0, 3])
@pytest.mark.parametrize("status", [400, 413, 429])
def test_one_refused_prompt_does_not_end_calls_for_several_samples(
    answering: Callable[..., str], connect: Connect, refused: int, status: int
) -> None:
    asked: list[tuple[str, int]] = []

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/v1/models":
            return 404, {}, b""
        call = json.loads(body)
        prompt, n = call["messages"][0]["content"], call.get("n", 1)
        asked.append((prompt, n))
        if prompt == f"row {refused}" and (status != 429 or asked.count((prompt, n)) == 1):
            return status, {}, b'{"error": {"message": "filtered: this prompt"}}'
        return 200, {}, json.dumps(chat() | {"choices": chat()["choices"] * n}).encode()

    backend = connect(answering(answer))
    for row in range(6):
        replies = backend.complete([Request(f"row {row}", seed) for seed in range(4)], SAMPLED)
        wanted = RowError if row == refused and status != 429 else Completion
        assert {type(reply) for reply in replies} == {wanted}
    several = [prompt for prompt, n in asked if n == 4]
    assert set(several) == {f"row {row}" for row in range(6)}
    assert {prompt for prompt, n in asked if n == 1} - {QUESTION.prompt} <= {f"row {refused}"}


def test_an_endpoint_that_refuses_n_without_naming_it_is_asked_for_each_sample(
    answering: Callable[..., str], connect: Connect
) -> None:
    asked: list[int] = []

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/v1/models":
            return 404, {}, b""
        asked.append(json.loads(body).get("n", 1))
        return (400, {}, b"bad request") if asked[-1] > 1 else (200, {}, json.dumps(chat()).encode())

    backend = connect(answering(answer))
    for row in range(3):
        replies = backend.complete([Request(f"row {row}", seed) for seed in range(4)], SAMPLED)
        assert {type(reply) for reply in replies} == {Completion}
    assert asked == [1, 4, *[1] * 12], "the probe, the call that is refused, and one for each sample"


def test_a_breaker_pauses_while_the_endpoint_is_down_and_nothing_is_lost(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(down_from=50, down_for=2.5)
    requests = prompts(200)
    assert_right(requests, ask(connect(server.url, total_timeout=30.0), requests))
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "fails every call (503: overloaded); pausing" in messages[0]
    assert "answers again, after" in messages[-1]
    assert len(messages) <= 4, "once for each time it is down, which on a busy machine may seem to be two"
    assert server.stats().requests < 600, "no storm"


def test_a_pause_ends_although_the_call_that_tried_was_dropped(
    answering: Callable[..., str], connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    hangs, down, released = threading.Event(), threading.Event(), threading.Event()

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if down.is_set():
            if "pausing" in caplog.text:  # this call tries whether the endpoint is back
                hangs.set()
                released.wait(20.0)
            return 503, {}, b""
        return 200, {}, json.dumps(chat()).encode()

    backend = connect(answering(answer), total_timeout=8.0)
    down.set()
    for ticket in range(20):
        backend.submit(ticket, Request(f"prompt {ticket}", 0), GREEDY)
    assert hangs.wait(10.0)
    down.clear()
    backend.cancel(range(20))
    backend.submit(20, Request("prompt 20", 0), GREEDY)
    [(ticket, reply)] = backend.poll()
    released.set()
    assert ticket == 20
    assert isinstance(reply, Completion)


def test_an_endpoint_that_stays_down_ends_the_run(serve: Serve, connect: Connect) -> None:
    server = serve(down_from=20, down_for=1000.0)
    backend = connect(server.url, total_timeout=2.0)
    with pytest.raises(ModelError, match=r"fails every call \(503: overloaded\): gave up after"):
        while True:
            replies = ask(backend, prompts(50))
            assert any(isinstance(reply, Completion) for reply in replies)
    with pytest.raises(ModelError):
        backend.submit(0, Request("a", 0), GREEDY)
        backend.poll()


def test_a_request_that_never_works_is_one_rows_error(serve: Serve, connect: Connect) -> None:
    server = serve(late=1.0, late_seconds=10.0, seed=3)
    with pytest.raises(ModelError, match=r"does not answer a test request .* no reply within"):
        connect(server.url, request_timeout=0.2, total_timeout=0.5)


def test_a_request_is_not_given_up_while_the_endpoint_is_busy_with_others(
    answering: Callable[..., str], connect: Connect
) -> None:
    refused: list[float] = []

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if b"prompt 3!" in body and len(refused) < 20:
            refused.append(time.monotonic())
            return 429, {}, b"too many requests"
        time.sleep(0.02)
        return 200, {}, json.dumps(chat()).encode()

    backend = connect(answering(answer), max_in_flight=2, total_timeout=120.0)
    replies = ask(backend, [Request(f"prompt {number}!", 0) for number in range(200)])
    assert {type(reply) for reply in replies} == {Completion}
    assert len(refused) == 20


def test_a_request_that_fails_often_is_one_rows_error_while_others_are_answered(
    answering: Callable[..., str], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.0)

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        return (500, {}, b"oops") if b'"prompt 3"' in body else (200, {}, json.dumps(chat()).encode())

    replies = ask(connect(answering(answer)), prompts(10))
    assert [ticket for ticket, reply in enumerate(replies) if not isinstance(reply, Completion)] == [3]
    assert str(replies[3]) == "the endpoint failed 12 times, at last with 500: oops"


def test_waiting_is_interrupted_by_ctrl_c_and_can_go_on(serve: Serve, connect: Connect) -> None:
    server = serve(latency=0.6)
    backend = connect(server.url)
    backend.submit(0, Request("a", 0), GREEDY)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        while not backend.poll():
            pass
    assert backend.pending == 1
    arrived: list[Reply] = []
    while not arrived:
        arrived = backend.poll()
    ((ticket, reply),) = arrived
    assert (ticket, reply.text) == (0, text_of("a", 0)) if isinstance(reply, Completion) else False


def test_requests_that_are_dropped_make_room_for_others_and_are_not_replied_to(
    serve: Serve, connect: Connect
) -> None:
    server = serve(latency=2.0)
    backend = connect(server.url, max_in_flight=2)
    for ticket in range(8):
        backend.submit(ticket, Request(f"prompt {ticket}", 0), GREEDY)
    time.sleep(0.5)
    begun = time.monotonic()
    backend.cancel(range(7))
    arrived: list[Reply] = []
    while backend.pending:
        arrived += backend.poll()

    assert [ticket for ticket, _ in arrived] == [7]
    assert time.monotonic() - begun < 3.9  # two calls one after another would take longer


def test_mutated_replies_end_as_completions_or_row_errors(
    answering: Callable[..., str], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = fuzzed(int(os.environ.get("LMCOT_FUZZ_REPLIES", "200")))
    monkeypatch.setattr(dispatch, "MOST_TRIES", 2)
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(
        breaker, "FAILURES", 2 * len(bodies) + 1
    )  # Most replies are bad, and no pause is wanted.

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/v1/models":
            return 404, {}, b""
        prompt = json.loads(body)["messages"][0]["content"]
        return 200, {}, bodies[int(prompt)] if prompt.isdigit() else json.dumps(chat()).encode()

    backend = connect(answering(answer), total_timeout=600.0)
    replies = ask(backend, [Request(str(number), 0) for number in range(len(bodies))])
    assert {type(reply) for reply in replies} == {Completion, RowError}


def test_polling_without_waiting_returns_what_is_there(serve: Serve, connect: Connect) -> None:
    backend = connect(serve(latency=0.1).url)
    assert backend.poll() == []
    backend.submit(0, Request("a", 0), GREEDY)
    assert backend.poll(wait=False) == []
    assert len(backend.poll()) == 1
    assert backend.pending == 0


def test_closing_drops_what_is_in_flight_at_once(serve: Serve, connect: Connect) -> None:
    backend = connect(serve(latency=1.0).url)
    for ticket in range(20):
        backend.submit(ticket, Request(f"p{ticket}", 0), GREEDY)
    started = time.monotonic()
    backend.close()
    backend.close()
    assert time.monotonic() - started < 0.7
    with pytest.raises(ValueError, match="closed"):
        backend.submit(99, Request("a", 0), GREEDY)


def test_a_bug_in_the_event_loop_reaches_the_caller(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = connect(serve().url)

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(backend._dispatcher, "take", broken)
    backend.submit(0, Request("a", 0), GREEDY)
    with pytest.raises(ZeroDivisionError):
        backend.poll()
