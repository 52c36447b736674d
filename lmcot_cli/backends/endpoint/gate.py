"""The one door that every call passes: calls in flight, limits per minute, and the circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from lmcot_cli.backends.endpoint.breaker import Breaker
from lmcot_cli.backends.endpoint.concurrency import InFlight, Sent
from lmcot_cli.backends.endpoint.faults import AdaptedError, EndpointFaultError, Refusal, Transient
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.endpoint.rates import RateEntry, Rates
from lmcot_cli.errors import ModelError


@dataclass(slots=True, eq=False)
class Admission:
    """A call that was let through.

    Attributes:
        number: Its place in the order in which calls were sent.
        sent: When it was sent, and in what company.
        entry: What it takes of the tokens per minute.
        tries_breaker: Whether it is to show if the endpoint is up again.
        tokens: Tokens that it took, once its reply is read.
        silent: Whether its reply should have come by now.
        aside: Whether it keeps no other call waiting.
        over: Whether it has ended.
    """

    number: int
    sent: Sent
    entry: RateEntry | None
    tries_breaker: bool
    tokens: int = 0
    silent: bool = False
    aside: bool = False
    over: bool = False


class Gate:
    """Lets calls through in the order of their numbers, as soon as nothing stands against the first of them.

    Where all calls in flight are silent, it lets one through beyond the bound, to see whether the endpoint answers.

    Args:
        url: The endpoint, for messages.
        options: Its settings.
        fail: Takes the error after which nothing more is asked.

    Attributes:
        in_flight: The bound on calls in flight.
        last_answer: When the endpoint last answered a call.
    """

    def __init__(self, url: str, options: EndpointOptions, fail: Callable[[BaseException], None]) -> None:
        self._url, self._patience, self._fail = url, options.total_timeout, fail
        self._loop = asyncio.get_running_loop()
        self._breaker, self._rates = Breaker(url), Rates(options.rpm, options.tpm)
        self._queue: list[tuple[int, int, Callable[[], int], asyncio.Future[Admission]]] = []
        self._arrivals, self._numbers = count(), count()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped: BaseException | None = None
        self._last_refusal = self.last_answer = 0.0
        self._expected = 0
        self.in_flight = InFlight(options.max_in_flight)

    @property
    def now(self) -> float:
        """Return the time by the event loop's clock."""
        return self._loop.time()

    @property
    def clock(self) -> float:
        """Return the time without the breaker's pauses, for which no request is to blame."""
        return self.now - self._breaker.paused(self.now)

    @asynccontextmanager
    async def admitted(self, number: int, tokens: Callable[[], int]) -> AsyncIterator[Admission]:
        """Wait for the turn of a call, and learn from what becomes of it.

        Args:
            number: Its place in the queue.
            tokens: Returns how many tokens it may take, when its turn comes.

        Raises:
            ModelError: The endpoint as a whole cannot go on.
        """
        admission = await self._turn(number, tokens)
        try:
            yield admission
            self._leave(admission)
            self._answered(admission)
        except EndpointFaultError as error:
            self._leave(admission)
            self._failed(admission, error.fault)
            raise
        except AdaptedError:
            self._breaker.answered(self.now)
            raise
        except ModelError as error:
            self.stop(error)
            raise
        finally:
            self._leave(admission)
            self._pump()

    def hang_up(self, admission: Admission) -> None:
        """Give the place of a call that is about to be cancelled to another."""
        self._leave(admission)
        self._loop.call_soon(self._pump)

    def note_silence(self, admission: Admission, *, aside: bool) -> None:
        """Expect no reply of a call in flight; let another go in its place, if it is to be set aside."""
        self._expected -= not admission.silent
        admission.silent = True
        self.in_flight.aside += aside and not admission.aside
        admission.aside |= aside
        self._pump()

    def refuses(self, seconds: float) -> bool:
        """Whether the endpoint is down, or has refused a call in so many seconds and answered none after that."""
        refused = self._last_refusal > max(self.last_answer, self.now - seconds)
        return refused or self._breaker.down_since is not None

    def count(self) -> None:
        """Count a request that is sent to the endpoint past the gate."""
        self._rates.take(0, self.now)

    def stop(self, error: BaseException) -> None:
        """Let no call through any more."""
        if self._stopped is None:
            self._stopped = error
            self._fail(error)
        self._pump()

    @property
    def _has_room(self) -> bool:
        return not self.in_flight.full or (self._expected == 0 and not self.in_flight.exhausted)

    async def _turn(self, number: int, tokens: Callable[[], int]) -> Admission:
        turn: asyncio.Future[Admission] = self._loop.create_future()
        heappush(self._queue, (number, next(self._arrivals), tokens, turn))
        self._pump()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and not turn.exception():  # let through and cancelled in the same moment
                self.hang_up(turn.result())
            raise

    def _pump(self) -> None:
        """Let calls through until something stands against the next one; come back when that may be over."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._queue and (self._stopped or self._queue[0][-1].done() or self._has_room):
            _, _, tokens, turn = self._queue[0]
            if turn.done():
                pass  # it was cancelled
            elif self._stopped:
                turn.set_exception(self._stopped)
            elif wait := self._wait(tokens()):
                self._timer = self._loop.call_later(wait, self._pump) if wait < float("inf") else None
                return
            else:
                turn.set_result(self._let_through(tokens()))
            heappop(self._queue)

    def _wait(self, tokens: int) -> float:
        return max(self._breaker.wait(self.now), self._rates.wait(tokens, self.now))

    def _let_through(self, tokens: int) -> Admission:
        now = self.now
        self._expected += 1
        sent, entry, tries = self.in_flight.sent(now), self._rates.take(tokens, now), self._breaker.sent(now)
        return Admission(next(self._numbers), sent, entry, tries)

    def _leave(self, admission: Admission) -> None:
        """Give back the place of a call, once."""
        if not admission.over:
            admission.over = True
            if admission.tries_breaker:
                self._breaker.trial_over()
            self._expected -= not admission.silent
            self.in_flight.over()
            self.in_flight.aside -= admission.aside

    def _answered(self, admission: Admission) -> None:
        self.last_answer = now = self.now
        self._breaker.answered(now)
        self.in_flight.answered(admission.sent, now)
        self._rates.correct(admission.entry, admission.tokens, now)

    def _failed(self, admission: Admission, fault: Transient | Refusal) -> None:
        """Learn from a call that brought no reply; a refusal is an answer, too."""
        now = self.now
        if isinstance(fault, Refusal):
            self._breaker.answered(now)
            return
        if fault.busy:
            self._last_refusal = now
            self.in_flight.refused(admission.sent, now)
        was_up, patience = self._breaker.down_since is None, self.in_flight.patience
        self._breaker.failed(
            fault.reason, fault.retry_after, tried=admission.tries_breaker, patience=patience, now=now
        )
        if (down := self._breaker.down_since) is None:
            return
        since = max(self.last_answer, admission.sent.at)
        if (fault.retry_after or 0.0) > self._patience:
            self._stop_if_down(down, since, fault)
        elif was_up:
            self._loop.call_at(since + self._patience, self._stop_if_down, down, since, fault)

    def _stop_if_down(self, down: float, since: float, fault: Transient) -> None:
        """Stop unless the endpoint has been up since a moment, at which it was found to be down."""
        if self._breaker.down_since == down:
            asks = f" and asks to wait {fault.retry_after:.0f} s" if fault.retry_after else ""
            self.stop(
                ModelError(
                    f"{self._url} fails every call ({fault.reason}){asks}: gave up after"
                    f" {self.now - since:.0f} s; give the same command again when it is back"
                )
            )
