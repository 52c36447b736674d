"""Ask again for what failed, with pauses that grow."""

from __future__ import annotations

import asyncio
from random import Random

from lmcot_cli.backends.endpoint.backoff import MOST_TRIES, STEPS_WHILE_ANSWERED, backoff
from lmcot_cli.backends.endpoint.calls import AsksCalls, Call, CallReplies
from lmcot_cli.backends.endpoint.faults import AdaptedError, EndpointFaultError, Transient
from lmcot_cli.backends.endpoint.gate import Gate
from lmcot_cli.errors import RowError


class Retrying:
    """Asks until there is an answer, a refusal, or no more time.

    Attributes:
        sleeping: Calls that wait for their next try.
    """

    def __init__(self, inner: AsksCalls, gate: Gate) -> None:
        self._inner, self._gate, self._random = inner, gate, Random()
        self.sleeping = 0

    async def ask(self, call: Call) -> CallReplies:
        """Return the answer to a call, or raise its refusal; see `AsksCalls.ask`."""
        failures = busy = 0
        failed_at = 0.0
        while True:
            try:
                return await self._inner.ask(call)
            except AdaptedError:
                continue
            except EndpointFaultError as error:
                if not isinstance(error.fault, Transient):
                    raise
                fault = error.fault
            failures += 1
            busy += fault.busy
            steps = min(failures, STEPS_WHILE_ANSWERED) if self._gate.last_answer > failed_at else failures
            failed_at = self._gate.now
            delay = backoff(steps, fault.retry_after, self._random)
            worn_out = call.jobs[0].once or failures - busy >= MOST_TRIES
            if worn_out or delay >= call.deadline - self._gate.clock:
                times = "once" if failures == 1 else f"{failures} times"
                raise RowError(f"the endpoint failed {times}, at last with {fault.reason}")
            await self._sleep(delay)

    async def _sleep(self, seconds: float) -> None:
        self.sleeping += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self.sleeping -= 1
