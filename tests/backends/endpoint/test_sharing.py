"""Samples of one prompt in one call: who gets what, also when some of them are not wanted any more."""

from __future__ import annotations

import asyncio
from typing import Any

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.calls import Call, CallReplies, EndpointJob
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.endpoint.dialect import Dialect
from lmcot_cli.backends.endpoint.reply import ReplyUsage
from lmcot_cli.backends.endpoint.sharing import Sharing


class Endpoint:
    """Answers calls when it is told to, and notes those that are hung up on."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.hung_up: list[Call] = []
        self.answers = asyncio.Event()

    async def ask(self, call: Call) -> CallReplies:
        self.calls.append(call)
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.hung_up.append(call)
            raise
        replies = [Completion(f"seed {job.request.seed}", 1, 1, "stop", None) for job in call.jobs]
        return CallReplies(tuple(replies), ReplyUsage(7, len(replies)))


async def ask(endpoint: Endpoint, count: int) -> list[asyncio.Task[Any]]:
    """Ask for samples of one prompt, and wait until the call is sent."""
    sharing = Sharing(endpoint, Dialect.of(Address("http://here/v1", "m"), "auto"), Counters())
    jobs = [EndpointJob(Request("a", seed), Sampling(temperature=0.7)) for seed in range(count)]
    tasks = [asyncio.create_task(sharing.ask(job)) for job in jobs]
    await asyncio.sleep(0.05)
    return tasks


def test_each_sample_gets_its_own_reply_also_when_another_is_dropped() -> None:
    async def test() -> None:
        endpoint = Endpoint()
        tasks = await ask(endpoint, 3)
        tasks[0].cancel()
        await asyncio.sleep(0)
        endpoint.answers.set()
        replies = await asyncio.gather(*tasks[1:])
        assert [reply.text for reply in replies] == ["seed 1", "seed 2"]
        assert len(endpoint.calls) == 1
        assert not endpoint.hung_up

    asyncio.run(test())


def test_a_call_that_nobody_wants_any_more_is_hung_up_on() -> None:
    async def test() -> None:
        endpoint = Endpoint()
        for task in await ask(endpoint, 3):
            task.cancel()
        await asyncio.sleep(0.01)
        assert endpoint.hung_up == endpoint.calls

    asyncio.run(test())


def test_a_request_does_not_join_a_call_that_was_just_dropped() -> None:
    async def test() -> None:
        endpoint = Endpoint()
        endpoint.answers.set()
        sharing = Sharing(endpoint, Dialect.of(Address("http://here/v1", "m"), "auto"), Counters())
        job = EndpointJob(Request("a", 3), Sampling(temperature=0.7))
        dropped = asyncio.create_task(sharing.ask(job))
        await asyncio.sleep(0)
        dropped.cancel()
        await asyncio.sleep(0)
        reply = await sharing.ask(job)
        assert isinstance(reply, Completion)
        assert reply.text == "seed 3"

    asyncio.run(test())
