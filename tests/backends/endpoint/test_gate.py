"""The gate: whose turn it is, what is given back, and what stops all."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from lmcot_cli.backends.endpoint import breaker
from lmcot_cli.backends.endpoint.faults import EndpointFaultError, Transient
from lmcot_cli.backends.endpoint.gate import Admission, Gate
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.errors import ModelError


class Calls:
    """Calls that pass a gate and stay behind it until they are told how to end."""

    def __init__(self, **options: Any) -> None:
        self.failures: list[BaseException] = []
        self.gate = Gate("http://here/v1", EndpointOptions(**options), self.failures.append)
        self.inside: list[int] = []
        self.admissions: list[Admission] = []
        self.ends: dict[int, asyncio.Future[None]] = {}

    async def call(self, number: int) -> None:
        async with self.gate.admitted(number, lambda: 0) as admission:
            self.inside.append(number)
            self.admissions.append(admission)
            self.ends[number] = asyncio.get_running_loop().create_future()
            await self.ends[number]
            admission.tokens = 1

    async def start(self, *numbers: int) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.call(number)) for number in numbers]
        await asyncio.sleep(0.01)
        return tasks

    async def end(self, number: int, error: Exception | None = None) -> None:
        if error:
            self.ends[number].set_exception(error)
        else:
            self.ends[number].set_result(None)
        await asyncio.sleep(0.01)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_calls_pass_in_the_order_of_their_numbers() -> None:
    async def test() -> None:
        calls = Calls(max_in_flight=1)
        tasks = await calls.start(5, 9, 7, 6)
        for number in (5, 6, 7, 9):
            await calls.end(number)
        assert calls.inside == [5, 6, 7, 9]
        await asyncio.gather(*tasks)

    run(test())


def test_a_call_that_is_cancelled_gives_back_its_place_wherever_it_is() -> None:
    async def test() -> None:
        calls = Calls(max_in_flight=1)
        inside, waiting, last = await calls.start(1, 2, 3)
        waiting.cancel()
        inside.cancel()
        await asyncio.sleep(0.01)
        assert calls.inside == [1, 3]
        assert calls.gate.in_flight.count == 1
        await calls.end(3)
        await last
        assert calls.gate.in_flight.count == 0

    run(test())


def test_a_call_that_is_cancelled_as_it_is_let_through_gives_back_its_place() -> None:
    async def test() -> None:
        calls = Calls(max_in_flight=1)
        first, second, third = await calls.start(1, 2, 3)
        calls.ends[1].set_result(None)
        first.add_done_callback(lambda _: second.cancel())
        await asyncio.sleep(0.01)
        assert calls.inside[-1] == 3
        await calls.end(3)
        await asyncio.gather(first, third)
        assert calls.gate.in_flight.count == 0

    run(test())


def test_where_all_are_silent_one_more_passes_at_a_time_and_no_more_than_the_user_allows() -> None:
    async def test() -> None:
        calls = Calls(max_in_flight=10)
        tasks = await calls.start(*range(12))
        for passed in (8, 9, 10, 10):
            assert len(calls.inside) == passed
            for admission in calls.admissions:
                calls.gate.note_silence(admission, aside=False)
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()

    run(test())


def test_a_trial_that_nobody_wants_any_more_makes_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 0.0)

    async def test() -> None:
        calls = Calls(max_in_flight=10)
        calls.gate.in_flight._latency = 0.0
        for number in range(breaker.FAILURES):
            calls.gate._breaker.failed("503", None, tried=False, patience=0.0, now=float(number))
        trial, other = await calls.start(1, 2)
        assert calls.inside == [1], "one at a time"
        trial.cancel()
        await asyncio.sleep(0.01)
        assert calls.inside == [1, 2]
        other.cancel()

    run(test())


def test_an_error_of_the_whole_endpoint_reaches_all_that_wait_and_all_that_come() -> None:
    async def test() -> None:
        calls = Calls(max_in_flight=1)
        tasks = await calls.start(1, 2, 3)
        await calls.end(1, ModelError("no credit"))
        tasks += await calls.start(4)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["no credit"] * 4
        assert [str(failure) for failure in calls.failures] == ["no credit"]
        assert calls.inside == [1]

    run(test())


def test_a_failure_is_learnt_from_and_passed_on() -> None:
    async def test() -> None:
        calls = Calls()
        (task,) = await calls.start(1)
        await calls.end(1, EndpointFaultError(Transient("429: busy", busy=True)))
        with pytest.raises(EndpointFaultError):
            await task
        assert calls.gate.refuses(10.0)
        (task,) = await calls.start(2)
        await calls.end(2)
        await task
        assert not calls.gate.refuses(10.0)

    run(test())
