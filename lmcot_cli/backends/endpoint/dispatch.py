"""Decide when which call is sent, and what becomes of it. One event loop does it all, so nothing here is locked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from random import Random

from lmcot_cli.backends.base import Completion
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.backoff import MOST_TRIES, backoff, failures_that_count
from lmcot_cli.backends.endpoint.breaker import Breaker
from lmcot_cli.backends.endpoint.calls import Call, EndpointJob, Gathering
from lmcot_cli.backends.endpoint.client import Client, EndpointFaultError, UnreachableError
from lmcot_cli.backends.endpoint.concurrency import InFlight
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.endpoint.dialect import Dialect
from lmcot_cli.backends.endpoint.faults import Fault, Refusal, Transient, refused_key
from lmcot_cli.backends.endpoint.flights import Flight, Flights
from lmcot_cli.backends.endpoint.forbidden import TRIAL, TRIAL_SAMPLING, Doubts
from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.endpoint.patience import UNKNOWN
from lmcot_cli.backends.endpoint.rates import Rates
from lmcot_cli.backends.endpoint.reply import Answered, UnusableReplyError, read_reply, without_reply
from lmcot_cli.errors import ModelError, PromptTooLongError, RowError

_TEMPLATE_TOKENS = 32
"""Tokens that a chat template may add to a prompt; for the limit of tokens per minute."""

_GLANCE = 0.25
"""Seconds between two looks at what is overdue, a quarter of what nothing is overdue before."""


class Dispatcher:
    """Holds the calls that wait, sends each when nothing stands against it, and tries again what failed.

    A call that is silent for longer than what the endpoint shows of others makes plausible is asked again beside the
    first (`flights`); the first reply is taken, and the others are hung up on.

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
        self._again: deque[Call] = deque()
        self._flights = Flights()
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._glancing: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = Random()
        self._tokens_per_byte = 0.5
        self._last_answer = self._last_refusal = 0.0
        self._watched: float | None = None
        self.counters = Counters()
        self.sleeping = 0
        self.in_flight = InFlight(options.max_in_flight)
        self.stopped: asyncio.Future[BaseException] = self._loop.create_future()

    def take(self, job: EndpointJob) -> None:
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
        self._again = deque(call for call in self._again if not call.dropped)
        for flight in self._flights.dropped():
            self._flights.cancel(flight)
            self._over(flight)
        self._pump()

    async def cancel(self) -> None:
        """Drop every call that waits or is in flight."""
        self._ready.clear()
        self._again.clear()
        if self._glancing:
            self._glancing.cancel()
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
        while not self.stopped.done() and (call := self._next()):
            tokens, queue = self._reckoned_tokens(call), self._again or self._ready
            if self._options.tpm and tokens > self._options.tpm and queue is self._ready:
                self._give_up(queue.popleft(), _more_than_a_minute(tokens, self._options.tpm))
                continue
            now = self._loop.time()
            wait = max(self._breaker.wait(now), self._rates.wait(tokens, now))
            if wait > 0:
                self._timer = self._loop.call_later(wait, self._pump) if wait < float("inf") else None
                return
            self._send(queue.popleft(), tokens)

    def _next(self) -> Call | None:
        """Return the call whose turn it is; None where there is none, or no room for it.

        Those that are asked again come first. Where no flight is expected to land, they need no room: they go in place
        of a silent one.
        """
        if self.in_flight.full:
            return self._again[0] if self._again and self._flights.none_expected(self._loop.time()) else None
        if (
            not self._again
            and self._ready
            and len(self._ready[0].jobs) > 1
            and self._dialect.n_honoured is False
        ):
            self._take_apart(self._ready.popleft())
        return next(iter(self._again or self._ready), None)

    def _take_apart(self, call: Call) -> None:
        """Line up a call for each job of one, before the others."""
        self._ready.extendleft(reversed(call.apart()))

    def _send(self, call: Call, tokens: int) -> None:
        now = self._loop.time()
        others = self._flights.of(call)
        guesses = bool(others) and self._flights.must_guess(others[-1])
        hedges = bool(others)
        if others and self.in_flight.full:
            self._lose(others.pop(0))
        if call.deadline is None:
            call.deadline = self._active(now) + self._options.total_timeout
        elif others:
            self.counters.hedged += 1
        else:
            self.counters.retries += 1
        self.counters.requests += 1
        flight = Flight(
            call,
            self._dialect.path,
            self._dialect.body(call.request, call.sampling, len(call.jobs)),
            self.in_flight.sent(now),
            self._rates.take(tokens, now),
            self._breaker.sent(now),
            next(self._numbers),
            len(call.request.text),
            len(call.jobs) * self._dialect.most_tokens(call.sampling),
            min(self._options.request_timeout, max(self._remaining(call), 0.001)),
            hedges=hedges,
            guesses=guesses,
        )
        self._take_off(flight)

    def _take_off(self, flight: Flight) -> None:
        task = self._loop.create_task(self._fly(flight))
        self._tasks.add(task)
        self._flights.took_off(flight, task)
        task.add_done_callback(self._landed)
        self._glancing = self._glancing or self._loop.call_later(_GLANCE, self._glance)

    def _landed(self, task: asyncio.Task[None]) -> None:
        """Forget a task; an exception in it is a bug, which is not to go unseen."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.stop(error)

    def _over(self, flight: Flight) -> None:
        """Give back a flight's place, once."""
        if self._flights.landed(flight):
            self.in_flight.aside = self._flights.aside
            self.in_flight.over()
            if flight.tries_breaker:
                self._breaker.trial_over()

    async def _fly(self, flight: Flight) -> None:
        try:
            outcome: Answered | Fault = await self._ask(flight)
        except EndpointFaultError as error:
            outcome = error.fault
        except (UnusableReplyError, UnreachableError) as error:
            outcome = Transient(str(error))
        finally:
            self._over(flight)
        if not isinstance(outcome, Transient):
            self._hang_up_others(flight)
        if isinstance(outcome, Answered):
            self._answered(flight, outcome)
        elif isinstance(outcome, Refusal):
            self._refused(flight, outcome)
        elif isinstance(outcome, Transient):
            self._failed_try(flight, outcome)
        else:
            self.stop(outcome)
        self._pump()

    def _glance(self) -> None:
        """Ask again what is overdue, beside the first; give up what is lost, to try it again."""
        now = self._loop.time()
        self._glancing = self._loop.call_later(_GLANCE, self._glance) if self._flights else None
        self._flights.set_aside(now, full=self.in_flight.full)
        self.in_flight.aside = self._flights.aside
        for flight in self._flights.lost(now):
            self._lose(flight)
            if not self._flights.of(flight.call):
                flight.call.asked_again += 1
                self._failed_try(flight, Transient(f"no reply within {now - flight.sent.at:.3g} s"))
        for flight in self._flights.overdue(now):
            if self._may_ask_again(flight, now):
                flight.call.asked_again += 1
                self._again.append(flight.call)
        self._pump()

    def _may_ask_again(self, flight: Flight, now: float) -> bool:
        """Whether a call may be asked again beside a flight that is overdue; a busy endpoint is left alone."""
        refusing = self._last_refusal > max(self._last_answer, now - UNKNOWN)
        waits = flight.call in self._again or now < flight.call.not_before
        if waits or refusing or self._breaker.down_since is not None:
            return False
        return self._flights.may_hedge(flight, now, len(self._again), self.counters.requests)

    def _lose(self, flight: Flight, *, silent: bool = True) -> None:
        """Hang up on a flight that is not answered, or not needed any more."""
        self.counters.unanswered += silent
        flight.call.lost += 1
        self._flights.cancel(flight)
        self._over(flight)

    def _hang_up_others(self, flight: Flight) -> None:
        """Hang up on the other flights of a call that is answered."""
        with suppress(ValueError):
            self._again.remove(flight.call)
        for other in self._flights.of(flight.call):
            in_vain = other.number > flight.number
            self._flights.in_vain += in_vain
            self._lose(other, silent=not in_vain)

    async def _ask(self, flight: Flight) -> Answered:
        call = flight.call
        body = await self._client.post(flight.path, flight.body, flight.timeout)
        answered = read_reply(body, call.request, call.sampling, len(call.jobs))
        return replace(answered, replies=tuple(self._without_key(reply) for reply in answered.replies))

    def _without_key(self, reply: Completion | RowError) -> Completion | RowError:
        """Take the key out of texts that came in pieces, which may hold it whole only now."""
        if isinstance(reply, RowError):
            return reply
        thought = reply.thought
        if thought and thought.text:
            thought = replace(thought, text=self._key.redact_reply(thought.text))
        return replace(reply, text=self._key.redact_reply(reply.text), thought=thought)

    def _answered(self, flight: Flight, answered: Answered) -> None:
        """Hand out the replies; ask anew for those that the endpoint left out."""
        now, jobs = self._loop.time(), flight.call.jobs
        self._last_answer = now
        self._flights.learn(flight, answered.usage.completion_tokens, now)
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
                seeded = index == 0 and "seed" in flight.body
                job.done(_as_handed_out(reply, seeded=seeded, lost=flight.call.lost))
        self._ready.extendleft(Call([job]) for job in reversed(again))

    def _written_anew(self, flight: Flight) -> bool:
        """Whether a call would be written otherwise by now."""
        call = flight.call
        body = self._dialect.body(call.request, call.sampling, len(call.jobs))
        return (self._dialect.path, body) != (flight.path, flight.body)

    def _count(self, call: Call, answered: Answered) -> None:
        self.counters.prompt_tokens += answered.usage.prompt_tokens
        self.counters.completion_tokens += answered.usage.completion_tokens
        self.counters.lost_prompt_tokens += call.lost * answered.usage.prompt_tokens
        self.counters.lost_completion_tokens += call.lost * answered.usage.completion_tokens
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
        elif refusal.about_length:
            for job in call.jobs:
                job.done(PromptTooLongError.of_endpoint(str(refusal), refusal.too_many_tokens))
        elif len(call.jobs) > 1:
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
            self._ready.appendleft(Call([EndpointJob(TRIAL, TRIAL_SAMPLING, self._tried_key)], is_trial=True))

    def _tried_key(self, reply: Completion | RowError) -> None:
        """Give up the calls that waited for the key to be tried, which brought this, or an error of its own."""
        for call, refusal in self._doubts.settled():
            self._give_up(call, str(refusal))

    def _failed_try(self, flight: Flight, fault: Transient) -> None:
        """Try again later, unless it was tried often or long enough."""
        call, now = flight.call, self._loop.time()
        beside = self._flights.of(call)
        if fault.late:
            self.counters.unanswered += 1
            call.lost += 1
        if not beside and fault.refusal and self._is_refusal(flight, fault.refusal):
            self._breaker.answered(now)
            self._ready.appendleft(call)
            return
        if fault.busy:
            self._last_refusal = now
            self.in_flight.refused(flight.sent, now)
        self._breaker.failed(
            fault.reason,
            fault.retry_after,
            tried=flight.tries_breaker,
            patience=self.in_flight.patience,
            now=now,
        )
        if self._hopeless(fault, now):
            self.stop(ModelError(self._report(fault, self._breaker.down_since or now)))
        elif beside:
            call.not_before = now + backoff(1, fault.retry_after, self._random)
        else:
            self._watch(flight, fault)
            self._retry(flight, fault)

    def _is_refusal(self, flight: Flight, refusal: Refusal) -> bool:
        """Whether a failure was of what the endpoint does not take, and is over with it."""
        return self._written_anew(flight) or self._dialect.adapt(refusal, flight.body)

    def _retry(self, flight: Flight, fault: Transient) -> None:
        """Try again after a while; it grows from try to try, later and less while the endpoint answers others."""
        call = flight.call
        call.failures += 1
        call.busy += fault.busy
        with suppress(ValueError):
            self._again.remove(call)
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

    def _watch(self, flight: Flight, fault: Transient) -> None:
        """Give up a while after the endpoint, if it is down, was first asked in vain: a try may yet be under way."""
        down = self._breaker.down_since
        if down is not None and down != self._watched:
            self._watched = down
            began = max(self._last_answer, flight.sent.at)
            self._loop.call_at(began + self._options.total_timeout, self._stop_if_down, down, began, fault)

    def _stop_if_down(self, down: float, began: float, fault: Transient) -> None:
        if self._breaker.down_since == down:
            self.stop(ModelError(self._report(fault, began)))

    def _report(self, fault: Transient, since: float) -> str:
        asks = f" and asks to wait {fault.retry_after:.0f} s" if fault.retry_after else ""
        return (
            f"{self._address.url} fails every call ({fault.reason}){asks}: gave up after"
            f" {self._loop.time() - since:.0f} s; give the same command again when it is back"
        )

    def _give_up(self, call: Call, reason: str) -> None:
        for job in call.jobs:
            job.done(RowError(reason))

    def stop(self, error: BaseException) -> None:
        """Ask nothing more: the endpoint as a whole cannot go on."""
        self._ready.clear()
        self._again.clear()
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


def _as_handed_out(reply: Completion | RowError, *, seeded: bool, lost: int) -> Completion | RowError:
    """Return a reply as its request gets it: with an error in place of a thought that nothing follows."""
    if isinstance(reply, RowError):
        return reply
    return without_reply(reply) or replace(reply, seeded=seeded, lost_calls=lost)


def _more_than_a_minute(tokens: int, limit: int) -> str:
    return f"the request may take {tokens} tokens, more than --tpm {limit} allows in a minute"
