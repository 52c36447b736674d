"""Put several samples of one prompt into one call, and hand out what it brings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count

from lmcot_cli.backends.base import Completion
from lmcot_cli.backends.endpoint.calls import AsksCalls, Call, EndpointJob
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.endpoint.dialect import Dialect
from lmcot_cli.backends.endpoint.faults import EndpointFaultError, Refusal, Transient
from lmcot_cli.errors import PromptTooLongError, RowError

GATHERING_SECONDS = 0.005
"""How long a sampled request waits for others of the same prompt: a row's samples are handed in together."""


@dataclass(slots=True, eq=False)
class _Shared:
    """A call that several requests share, how many still want it, whether no other will join, and what it brings."""

    call: Call
    wanted: int = 0
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    replies: asyncio.Task[list[Completion | RowError]] | None = None


class Sharing:
    """Asks for requests: samples of one prompt in one call, as long as the endpoint may answer several in one."""

    def __init__(self, inner: AsksCalls, dialect: Dialect, counters: Counters) -> None:
        self._inner, self._dialect, self._counters = inner, dialect, counters
        self._numbers = count()
        self._open: _Shared | None = None

    async def ask(self, job: EndpointJob) -> Completion | RowError:
        """Return the reply to a request, or its own error.

        Raises:
            ModelError: The endpoint as a whole cannot go on.
        """
        if job.sampling.temperature > 0 and self._dialect.n_honoured is not False:
            return await self._ask_together(job)
        (reply,) = await self._ask_for(Call([job], next(self._numbers)))
        return reply

    async def _ask_together(self, job: EndpointJob) -> Completion | RowError:
        shared = self._joined(job)
        index, shared.wanted = len(shared.call.jobs) - 1, shared.wanted + 1
        assert shared.replies
        try:
            return (await asyncio.shield(shared.replies))[index]
        except asyncio.CancelledError:
            shared.wanted -= 1
            if not shared.wanted:
                self._close(shared)
                shared.replies.cancel()
            raise

    def _joined(self, job: EndpointJob) -> _Shared:
        """Return the open call, with a job added, or a new one; another prompt closes an open one."""
        if self._open and self._open.call.takes(job):
            self._open.call.jobs.append(job)
            return self._open
        self._close(self._open)
        self._open = shared = _Shared(Call([job], next(self._numbers)))
        shared.replies = asyncio.create_task(self._gather(shared))
        return shared

    async def _gather(self, shared: _Shared) -> list[Completion | RowError]:
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHERING_SECONDS):
                await shared.complete.wait()
        self._close(shared)
        return await self._ask_for(shared.call)

    def _close(self, shared: _Shared | None) -> None:
        if shared and shared is self._open:
            self._open = None
            shared.complete.set()

    async def _ask_for(self, call: Call) -> list[Completion | RowError]:
        """Return a reply for each request of a call."""
        try:
            answered = await self._inner.ask(call)
        except RowError as error:
            return [error] * len(call.jobs)
        except EndpointFaultError as error:
            fault = error.fault
        else:
            self._counters.count(answered.usage.prompt_tokens, answered.usage.completion_tokens, call.lost)
            return await self._completed(call, answered.replies)
        return await self._refused(call, fault)

    async def _completed(
        self, call: Call, replies: Sequence[Completion | RowError | None]
    ) -> list[Completion | RowError]:
        """Return the replies to a call; ask one by one for those that are missing."""
        missing = [job for job, reply in zip(call.jobs, replies, strict=True) if reply is None]
        more = iter(await self._one_by_one([Call([job], call.number) for job in missing]))
        return [
            replace(reply, lost_calls=call.lost) if isinstance(reply, Completion) else reply or next(more)
            for reply in replies
        ]

    async def _refused(self, call: Call, fault: Transient | Refusal) -> list[Completion | RowError]:
        """Return the errors of a refused call; one for several choices may be refused for that alone."""
        assert isinstance(fault, Refusal)
        if fault.about_length and not fault.forbids:
            return [PromptTooLongError.of_endpoint(str(fault), fault.too_many_tokens)] * len(call.jobs)
        if len(call.jobs) > 1 and not fault.forbids:
            return await self._one_by_one(
                [replace(call, jobs=[job], refused_with_n=True) for job in call.jobs]
            )
        return [RowError(str(fault))] * len(call.jobs)

    async def _one_by_one(self, calls: list[Call]) -> list[Completion | RowError]:
        """Return the replies to calls for one choice each."""
        return [reply for replies in await asyncio.gather(*map(self._ask_for, calls)) for reply in replies]
