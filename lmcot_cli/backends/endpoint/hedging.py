"""Ask again beside a call that has been silent for longer than is plausible; the first reply is taken."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from random import Random

from lmcot_cli.backends.endpoint import patience
from lmcot_cli.backends.endpoint.backoff import backoff
from lmcot_cli.backends.endpoint.calls import AsksCalls, Call, CallReplies
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.endpoint.dialect import Dialect
from lmcot_cli.backends.endpoint.faults import EndpointFaultError, Transient
from lmcot_cli.backends.endpoint.gate import Gate
from lmcot_cli.backends.endpoint.patience import Patience

_IN_VAIN = 0.02
"""Share of all calls that may be hedges that were not needed, because the first call was answered after all, or that
are still open. A hedge that is answered in place of a silent call is none of these, so silence does not use it up."""


@dataclass(slots=True)
class _UnderWay:
    """A call, its attempts that are under way, how many have not failed so far, and when another may be made."""

    call: Call
    attempts: dict[asyncio.Task[CallReplies], Call] = field(default_factory=dict)
    made: int = 0
    not_before: float = 0.0


class Hedging:
    """Sends a call, and sends it again where it stays silent.

    A busy endpoint is left alone, and few calls are asked again in vain. Where nothing that was sent after a call has
    been answered, the endpoint may be slow with all: then one call at a time is asked again.
    """

    def __init__(self, inner: AsksCalls, gate: Gate, dialect: Dialect, counters: Counters) -> None:
        self._inner, self._gate, self._dialect, self._counters = inner, gate, dialect, counters
        self._patience, self._random = Patience(), Random()
        self._open: set[Call] = set()
        self._in_vain = 0

    async def ask(self, call: Call) -> CallReplies:
        """Return the first answer to a call, and hang up on what else was sent for it; see `AsksCalls.ask`."""
        under_way, call.admission = _UnderWay(call), None
        self._send(under_way, call)
        done: asyncio.Task[CallReplies] | None = None
        try:
            while not done or not self._decides(under_way, done):
                now_and_then = patience.SOONEST / 4  # a quarter of the time in which no call is silent
                await asyncio.wait(
                    under_way.attempts, timeout=now_and_then, return_when=asyncio.FIRST_COMPLETED
                )
                done = next((task for task in under_way.attempts if task.done()), None)
                if not done:
                    self._look_after(under_way)
            return done.result()
        finally:
            done = None  # else an error leads to itself through this frame, and what it holds stays in memory
            for task in list(under_way.attempts):
                self._hang_up(under_way, task)

    def _send(self, under_way: _UnderWay, attempt: Call) -> None:
        under_way.made += 1
        under_way.attempts[asyncio.create_task(self._inner.ask(attempt))] = attempt

    def _hang_up(self, under_way: _UnderWay, task: asyncio.Task[CallReplies]) -> None:
        attempt = under_way.attempts.pop(task)
        self._open.discard(attempt)
        if attempt.admission:
            self._gate.hang_up(attempt.admission)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody else looks at it
        task.cancel()

    def _decides(self, under_way: _UnderWay, task: asyncio.Task[CallReplies]) -> bool:
        """Whether an attempt that has ended ends the call: it does unless it failed and others are under way."""
        attempt, error = under_way.attempts.pop(task), task.exception()
        self._open.discard(attempt)
        if isinstance(error, EndpointFaultError) and isinstance(error.fault, Transient):
            if error.fault.late:
                self._count_silent(under_way.call)
            under_way.made -= 1
            under_way.not_before = self._gate.now + backoff(1, error.fault.retry_after, self._random)
            return not under_way.attempts
        if admission := attempt.admission:
            if not error:
                seconds, tokens = self._gate.now - admission.sent.at, task.result().usage.completion_tokens
                self._patience.learn(admission.number, seconds, len(attempt.request.text), tokens)
            self._count_others(under_way, admission.number)
        return True

    def _count_others(self, under_way: _UnderWay, number: int) -> None:
        """Count the attempts beside the one that ended the call: silent ones, and hedges that were not needed."""
        for other in under_way.attempts.values():
            if other.admission and other.admission.number > number:
                self._in_vain += 1
                under_way.call.lost += 1
            elif other.admission:
                self._count_silent(under_way.call)

    def _count_silent(self, call: Call) -> None:
        self._counters.unanswered += 1
        call.lost += 1

    def _look_after(self, under_way: _UnderWay) -> None:
        """Let silent attempts keep no other call waiting; ask again if the youngest one is overdue.

        Each is waited for twice as long as the one before it, for the reply may take long.
        """
        call, now = under_way.call, self._gate.now
        size = len(call.request.text)
        sent = [attempt.admission for attempt in under_way.attempts.values() if attempt.admission]
        for admission in sent:
            if now - admission.sent.at >= self._patience.usual(size):
                self._gate.note_silence(admission, aside=self._patience.overtaken(admission.number))
        if len(sent) < len(under_way.attempts):
            return  # one waits at the gate
        room = len(call.jobs) * self._dialect.most_tokens(call.sampling)
        due = sent[-1].sent.at + self._patience.longest(size, room) * 2.0 ** (under_way.made - 1)
        if now >= max(due, under_way.not_before):
            self._ask_again(under_way, guesses=not self._patience.overtaken(sent[-1].number))

    def _ask_again(self, under_way: _UnderWay, *, guesses: bool) -> None:
        """Ask again if that may be done now; if no more calls may ever be in flight, in place of the oldest attempt."""
        self._open.difference_update(under_way.attempts.values())
        if self._gate.refuses(patience.UNKNOWN) or not self._may_open(guesses=guesses):
            return
        hedge = replace(under_way.call, admission=None, hedges=True, guesses=guesses)
        self._open.add(hedge)
        self._send(under_way, hedge)
        if self._gate.in_flight.exhausted:
            self._count_silent(under_way.call)
            self._hang_up(under_way, next(iter(under_way.attempts)))

    def _may_open(self, *, guesses: bool) -> bool:
        if guesses and any(one.guesses for one in self._open):
            return False
        return self._in_vain + len(self._open) <= _IN_VAIN * self._counters.requests
