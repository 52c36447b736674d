"""Decide when which call is sent, and what becomes of it. One event loop does it all, so nothing here is locked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from lmcot_cli.backends.base import Completion
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.backoff import MOST_TRIES, backoff, failures_that_count
from lmcot_cli.backends.endpoint.breaker import Breaker
from lmcot_cli.backends.endpoint.calls import Call, Gathering, Job
from lmcot_cli.backends.endpoint.client import Client, FaultError, UnreachableError
from lmcot_cli.backends.endpoint.concurrency import InFlight, Sent
from lmcot_cli.backends.endpoint.dialect import Body, Dialect
from lmcot_cli.backends.endpoint.faults import Fault, Refusal, Transient, refused_key
from lmcot_cli.backends.endpoint.forbidden import TRIAL, TRIAL_SAMPLING, Doubts
from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.endpoint.rates import Entry, Rates
from lmcot_cli.backends.endpoint.reply import Answered, UnusableReplyError, read_reply, without_reply
from lmcot_cli.errors import ModelError, RowError

_TEMPLATE_TOKENS = 32
"""Tokens that a chat template may add to a prompt; for the limit of tokens per minute."""


@dataclass(slots=True)
class Counters:
    """What a session has asked of an endpoint, for costs and reports.

    Attributes:
        requests: Calls sent, retries and the probe included.
        retries: Those of them that repeat one.
        cache_hits: Requests answered from the reply cache, at no cost.
        prompt_tokens: Prompt tokens of the replies that the endpoint sent; not of those from the cache.
        completion_tokens: Tokens written in them.
    """

    requests: int = 0
    retries: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Flight:
    """A call under way: what was said, and what the bookkeepers want to have back."""

    call: Call
    path: str
    body: Body
    sent: Sent
    entry: Entry | None
    tries_breaker: bool


class Dispatcher:
    """Holds the calls that wait, sends each when nothing stands against it, and tries again what failed.

    Args:
        address: The endpoint.
        options: Its settings.
        client: Sends a call.
        dialect: How the endpoint is spoken to.
        key: The key in use, for what is said where it is refused.
        fail: Takes the error after which nothing more can be asked.

    Attributes:
        counters: What was asked so far.
        sleeping: Calls that wait for their next try.
        in_flight: The bound on calls in flight.
        stopped: Holds the error after which nothing more is asked, once there is one.
    """

    def __init__(
        self,
        address: Address,
        options: EndpointOptions,
        client: Client,
        dialect: Dialect,
        key: ApiKey,
        *,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._address, self._options, self._client = address, options, client
        self._dialect, self._key, self._fail = dialect, key, fail
        self._doubts = Doubts()
        self._loop = asyncio.get_running_loop()
        self._breaker = Breaker(address.url)
        self._rates = Rates(options.rpm, options.tpm)
        self._gathering = Gathering(self._line_up)
        self._ready: deque[Call] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Task[None], Call] = {}
        self._random = Random()
        self._tokens_per_byte = 0.5
        self._last_answer = 0.0
        self._watched: float | None = None
        self.counters = Counters()
        self.sleeping = 0
        self.in_flight = InFlight(options.max_in_flight)
        self.stopped: asyncio.Future[BaseException] = self._loop.create_future()

    def take(self, job: Job) -> None:
        """Line up a job, with others of the same prompt if the endpoint may answer them in one call."""
        if job.sampling.temperature > 0 and self._dialect.n_honoured is not False:
            self._gathering.add(job)
        else:
            self._line_up(Call([job]))

    def count(self) -> None:
        """Count a request that others send to the endpoint."""
        self.counters.requests += 1
        self._rates.take(0, self._loop.time())

    def leave_dropped(self) -> None:
        """Leave the calls that nobody wants any more; those in flight make room for others."""
        self._ready = deque(call for call in self._ready if not call.dropped)
        for task, call in self._tasks.items():
            if call.dropped:
                task.cancel()

    async def cancel(self) -> None:
        """Drop every call that waits or is in flight."""
        self._ready.clear()
        self.stopped.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _line_up(self, call: Call) -> None:
        if not call.dropped:
            self._ready.append(call)
        self._pump()

    def _pump(self) -> None:
        """Send calls until something stands against the next one; come back when that may be over."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._ready and not self.in_flight.full and not self.stopped.done():
            call = self._next()
            tokens = self._reckoned_tokens(call)
            if self._options.tpm and tokens > self._options.tpm:
                self._give_up(self._ready.popleft(), _more_than_a_minute(tokens, self._options.tpm))
                continue
            now = self._loop.time()
            wait = max(self._breaker.wait(now), self._rates.wait(tokens, now))
            if wait > 0:
                self._timer = self._loop.call_later(wait, self._pump) if wait < float("inf") else None
                return
            self._send(self._ready.popleft(), tokens)

    def _next(self) -> Call:
        """Return the call whose turn it is, taken apart if the endpoint is known to give one choice only."""
        if len(self._ready[0].jobs) > 1 and self._dialect.n_honoured is False:
            self._take_apart(self._ready.popleft())
        return self._ready[0]

    def _take_apart(self, call: Call) -> None:
        """Line up a call for each job of one, before the others."""
        self._ready.extendleft(reversed(call.apart()))

    def _send(self, call: Call, tokens: int) -> None:
        now = self._loop.time()
        if call.deadline is None:
            call.deadline = self._active(now) + self._options.total_timeout
        else:
            self.counters.retries += 1
        self.counters.requests += 1
        body = self._dialect.body(call.request, call.sampling, len(call.jobs))
        entry = self._rates.take(tokens, now)
        flight = Flight(
            call, self._dialect.path, body, self.in_flight.sent(now), entry, self._breaker.sent(now)
        )
        task = self._loop.create_task(self._fly(flight))
        self._tasks[task] = call
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        """Forget a task; an exception in it is a bug, which is not to go unseen."""
        self._tasks.pop(task, None)
        if task.cancelled():
            self._pump()  # its place is free
        elif error := task.exception():
            self.stop(error)

    async def _fly(self, flight: Flight) -> None:
        try:
            outcome: Answered | Fault = await self._ask(flight)
        except FaultError as error:
            outcome = error.fault
        except (UnusableReplyError, UnreachableError) as error:
            outcome = Transient(str(error))
        finally:
            self.in_flight.over()
        if isinstance(outcome, Answered):
            self._answered(flight, outcome)
        elif isinstance(outcome, Refusal):
            self._refused(flight, outcome)
        elif isinstance(outcome, Transient):
            self._failed_try(flight, outcome)
        else:
            self.stop(outcome)
        self._pump()

    async def _ask(self, flight: Flight) -> Answered:
        call = flight.call
        timeout = min(self._options.request_timeout, max(self._remaining(call), 0.001))
        body = await self._client.post(flight.path, flight.body, timeout)
        return read_reply(body, call.request, call.sampling, len(call.jobs))

    def _answered(self, flight: Flight, answered: Answered) -> None:
        """Hand out the replies; ask anew for those that the endpoint left out."""
        now, jobs = self._loop.time(), flight.call.jobs
        self._last_answer = now
        self._breaker.answered(now)
        self.in_flight.answered(flight.sent, now)
        self._rates.correct(flight.entry, answered.usage.total, now)
        self._dialect.settled = True
        self._dialect.notice(answered.replies, flight.body)
        self._count(flight.call, answered)
        for call, refusal in self._doubts.answered():
            self._give_up(call, str(refusal))
        if len(jobs) > 1:
            self._dialect.n_honoured = len(answered.replies) == len(jobs)
        elif flight.call.refused_with_n and self._dialect.n_honoured is None:
            self._dialect.n_honoured = False  # Its prompt was not to blame, then.
        self._hand_out(flight, answered.replies)

    def _hand_out(self, flight: Flight, replies: Sequence[Completion | RowError]) -> None:
        """Hand out replies; ask anew for those that are missing, or empty for what was said and is not any more."""
        jobs = flight.call.jobs
        again = jobs[len(replies) :]
        for index, (job, reply) in enumerate(zip(jobs, replies, strict=False)):
            empty = isinstance(reply, Completion) and not reply.text.strip()
            if empty and self._written_anew(flight):
                again.append(job)
            else:
                job.done(_as_handed_out(reply, seeded=index == 0 and "seed" in flight.body))
        self._ready.extendleft(Call([job]) for job in reversed(again))

    def _written_anew(self, flight: Flight) -> bool:
        """Whether a call would be written otherwise by now."""
        call = flight.call
        body = self._dialect.body(call.request, call.sampling, len(call.jobs))
        return (self._dialect.path, body) != (flight.path, flight.body)

    def _count(self, call: Call, answered: Answered) -> None:
        self.counters.prompt_tokens += answered.usage.prompt_tokens
        self.counters.completion_tokens += answered.usage.completion_tokens
        seen = answered.usage.prompt_tokens / max(1, len(call.request.text.encode("utf-8", "replace")))
        self._tokens_per_byte = max(1.1 * seen, 0.95 * self._tokens_per_byte)

    def _refused(self, flight: Flight, refusal: Refusal) -> None:
        """Write the call anew if that is what the endpoint wants; else its requests have failed.

        A refused call for several choices may be refused for that alone: asked for one by one, they show it.
        """
        call = flight.call
        self._breaker.answered(self._loop.time())
        if self._dialect.adapt(refusal, flight.body) or (not refusal.forbids and self._written_anew(flight)):
            self._ready.appendleft(call)
        elif refusal.forbids:
            self._forbidden(call, refusal)
        elif len(call.jobs) > 1 and not refusal.about_length:
            self._take_apart(replace(call, refused_with_n=True))
        else:
            self._give_up(call, str(refusal))

    def _forbidden(self, call: Call, refusal: Refusal) -> None:
        """Say that a prompt is forbidden, if the key is known to be good; else find that out first."""
        if call.is_trial:
            self.stop(refused_key(refusal, self._key, self._address.url))
        elif self._doubts.is_about_prompt():
            self._give_up(call, str(refusal))
        elif self._doubts.wait(call, refusal):
            self._ready.appendleft(Call([Job(TRIAL, TRIAL_SAMPLING, self._tried_key)], is_trial=True))

    def _tried_key(self, reply: Completion | RowError) -> None:
        """Give up the calls that waited for the key to be tried, which brought this, or an error of its own."""
        for call, refusal in self._doubts.settled():
            self._give_up(call, str(refusal))

    def _failed_try(self, flight: Flight, fault: Transient) -> None:
        """Try again later, unless it was tried often or long enough."""
        call, now = flight.call, self._loop.time()
        if fault.refusal and (self._written_anew(flight) or self._dialect.adapt(fault.refusal, flight.body)):
            self._breaker.answered(now)
            self._ready.appendleft(call)
            return
        call.failures += 1
        if fault.busy:
            call.busy += 1
            self.in_flight.refused(flight.sent, now)
        self._breaker.failed(
            fault.reason,
            fault.retry_after,
            tried=flight.tries_breaker,
            patience=self.in_flight.patience,
            now=now,
        )
        if self._hopeless(fault, now):
            self.stop(ModelError(self._report(fault, now)))
        else:
            self._watch(fault)
            self._retry(flight, fault)

    def _retry(self, flight: Flight, fault: Transient) -> None:
        """Try again after a while; it grows from try to try, later and less while the endpoint answers others."""
        call = flight.call
        others_answered = self._last_answer > (call.failed_at or flight.sent.at)
        call.failed_at = self._loop.time()
        failures = failures_that_count(call.failures) if others_answered else call.failures
        delay = backoff(failures, fault.retry_after, self._random)
        worn_out = call.once or call.failures - call.busy >= MOST_TRIES
        if worn_out or delay >= self._remaining(call):
            times = "once" if call.failures == 1 else f"{call.failures} times"
            self._give_up(call, f"the endpoint failed {times}, at last with {fault.reason}")
            return
        self.sleeping += 1
        self._loop.call_later(delay, self._wake, call)

    def _wake(self, call: Call) -> None:
        """Line up a call that has waited for its next try, before those that have not been tried."""
        self.sleeping -= 1
        if not call.dropped:
            self._ready.appendleft(call)
        self._pump()

    def _hopeless(self, fault: Transient, now: float) -> bool:
        """Whether the endpoint is down, and has been or will be so for longer than a request may take."""
        down_since, patience = self._breaker.down_since, self._options.total_timeout
        return down_since is not None and max(now - down_since, fault.retry_after or 0.0) > patience

    def _watch(self, fault: Transient) -> None:
        """Look again when the endpoint, if it is down, will have been for long enough: a try may yet be under way."""
        since = self._breaker.down_since
        if since is not None and since != self._watched:
            self._watched = since
            self._loop.call_at(since + self._options.total_timeout, self._stop_if_down, since, fault)

    def _stop_if_down(self, since: float, fault: Transient) -> None:
        if self._breaker.down_since == since:
            self.stop(ModelError(self._report(fault, self._loop.time())))

    def _report(self, fault: Transient, now: float) -> str:
        asks = f" and asks to wait {fault.retry_after:.0f} s" if fault.retry_after else ""
        return (
            f"{self._address.url} fails every call ({fault.reason}){asks}: gave up after"
            f" {now - (self._breaker.down_since or now):.0f} s; give the same command again when it is back"
        )

    def _give_up(self, call: Call, reason: str) -> None:
        for job in call.jobs:
            job.done(RowError(reason))

    def stop(self, error: BaseException) -> None:
        """Ask nothing more: the endpoint as a whole cannot go on."""
        self._ready.clear()
        if not self.stopped.done():
            self.stopped.set_result(error)
            self._fail(error)

    def _active(self, now: float) -> float:
        """Return the time without the breaker's pauses, which no request is to blame for."""
        return now - self._breaker.paused(now)

    def _remaining(self, call: Call) -> float:
        assert call.deadline is not None
        return call.deadline - self._active(self._loop.time())

    def _reckoned_tokens(self, call: Call) -> int:
        """Reckon, rather too high, what a call may take; only a limit of tokens per minute asks for it."""
        if not self._options.tpm:
            return 0
        size = len(call.request.text.encode("utf-8", "replace"))
        prompt = int(size * self._tokens_per_byte) + _TEMPLATE_TOKENS
        return prompt + len(call.jobs) * self._dialect.most_tokens(call.sampling)


def _as_handed_out(reply: Completion | RowError, *, seeded: bool) -> Completion | RowError:
    """Return a reply as its request gets it: with an error in place of a thought that nothing follows."""
    if isinstance(reply, RowError):
        return reply
    return without_reply(reply) or replace(reply, seeded=seeded)


def _more_than_a_minute(tokens: int, limit: int) -> str:
    return f"the request may take {tokens} tokens, more than --tpm {limit} allows in a minute"
