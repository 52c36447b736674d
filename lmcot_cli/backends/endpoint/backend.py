"""The `Backend` of OpenAI-compatible endpoints."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from lmcot_cli.backends.base import (
    POLL_SECONDS,
    Backend,
    Completion,
    ModelIdentity,
    Reply,
    Request,
    Sampling,
)
from lmcot_cli.backends.constraint import Constraint
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.cache import ReplyCache, default_file, digest
from lmcot_cli.backends.endpoint.calls import EndpointJob
from lmcot_cli.backends.endpoint.client import Client
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.endpoint.dialect import Dialect, wanted
from lmcot_cli.backends.endpoint.dispatch import Dispatcher
from lmcot_cli.backends.endpoint.key import find_key
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.endpoint.probe import Probe
from lmcot_cli.errors import RowError

T = TypeVar("T")


class EndpointBackend(Backend):
    """A model behind an endpoint, asked by an event loop in a thread of its own.

    Opening it fetches the endpoint's list of models, and asks the model for a few words: what is wrong with the
    address, the key or the model's name shows here. The words come from the reply cache if it has them.

    Args:
        address: The endpoint and the model.
        options: Its settings.

    Attributes:
        identity: The model spec; there is no file to have a digest of.
        in_background: True: the endpoint works while nobody polls.

    Raises:
        UsageError: The key command cannot be read.
        ModelError: The endpoint does not answer, refuses the key or has no such model, the key command fails, or
            the reply cache cannot be used.
    """

    in_background = True

    def __init__(self, address: Address, options: EndpointOptions | None = None) -> None:
        self._address, self._options = address, options or EndpointOptions()
        self.identity = ModelIdentity(address.spec, None)
        self._key = find_key(address, self._options)
        self._arrived: SimpleQueue[Reply | BaseException] = SimpleQueue()
        self._open: set[int] = set()
        self._failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        with ExitStack() as opened:
            self._cache = _open_cache(address, self._options)
            if self._cache:
                opened.callback(self._cache.close)
            opened.callback(self._start_thread())
            self._client = self._run(self._new_client())
            opened.callback(lambda: self._run(self._client.close()))
            self._dialect = Dialect.of(address, self._options.endpoint_api, self._options.fields)
            self._dispatcher = self._run(self._new_dispatcher())
            opened.callback(lambda: self._run(self._dispatcher.cancel()))
            probe = Probe(
                address, self._options, self._client, self._dialect, self._dispatcher.count, self._ask
            )
            self._run(probe.run())
            self._opened = opened.pop_all()
        self._closed = False

    @property
    def constraints(self) -> frozenset[type[Constraint]]:
        """The kinds of constraint that the endpoint is told of; fewer once it has refused to be."""
        return self._dialect.constraints

    @property
    def counters(self) -> Counters:
        """Return what was asked so far in this session."""
        return self._dispatcher.counters

    @property
    def window(self) -> int:
        """Return how many calls may be in flight, as many again in reserve, and those that keep no other waiting.

        These sleep until their next try, or are known to be silent.
        """
        in_flight = self._dispatcher.in_flight
        asleep = min(self._dispatcher.sleeping, self._options.max_in_flight)
        return 2 * in_flight.bound + asleep + in_flight.aside

    @property
    def pending(self) -> int:
        """Requests handed in whose replies have not been picked up."""
        return len(self._open)

    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        """Hand in a request; see `Backend.submit`.

        Raises:
            ValueError: The backend is closed.
        """
        if self._closed:
            raise ValueError("the endpoint is closed")
        self._open.add(ticket)
        job = EndpointJob(
            request,
            sampling,
            lambda reply: self._arrived.put((ticket, reply)),
            dropped=lambda: ticket not in self._open,
        )
        self._loop.call_soon_threadsafe(self._take, job)

    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Return the replies that have come; see `Backend.poll`.

        Raises:
            ModelError: The endpoint refuses the key, has been down for long, or the account has no credit.
        """
        replies: list[Reply] = []
        while self.pending and not self._failure:
            try:
                arrived = self._arrived.get(block=wait and not replies, timeout=POLL_SECONDS)
            except Empty:
                break
            if isinstance(arrived, BaseException):
                self._failure = arrived
                break
            if arrived[0] in self._open:  # else it was cancelled
                self._open.remove(arrived[0])
                replies.append(arrived)
        if self._failure and not replies:
            raise self._failure
        return replies

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop pending requests, calls in flight among them; see `Backend.cancel`."""
        self._open.difference_update(tickets)
        self._loop.call_soon_threadsafe(self._dispatcher.leave_dropped)

    def reset(self) -> None:
        """Keep nothing between requests, forget nothing."""

    def close(self) -> None:
        """Drop what is in flight, and close connections and cache; calling it twice does no harm."""
        self._closed = True
        self._opened.close()

    def _start_thread(self) -> Callable[[], None]:
        """Run the event loop in a thread; return what ends both."""
        thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        thread.start()

        def end() -> None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

        return end

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine that the event loop runs."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    async def _new_client(self) -> Client:
        return Client(self._address, self._key, self._options)

    async def _new_dispatcher(self) -> Dispatcher:
        self._loop.set_exception_handler(self._report_bug)
        return Dispatcher(
            self._address, self._options, self._client, self._dialect, self._key, fail=self._arrived.put
        )

    def _report_bug(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Hand the exception of a callback to `poll`, which would else wait forever for what it was to bring."""
        if "handle" in context and "exception" in context:
            self._dispatcher.stop(context["exception"])
        else:
            loop.default_exception_handler(context)

    async def _ask(
        self, request: Request, sampling: Sampling, *, once: bool = False
    ) -> Completion | RowError:
        """Ask for one reply, from within the event loop; `once` tries no second time.

        Raises:
            ModelError: The endpoint as a whole does not answer.
        """
        answered: asyncio.Future[Completion | RowError] = self._loop.create_future()
        self._take(EndpointJob(request, sampling, answered.set_result, once))
        stopped = self._dispatcher.stopped
        waited_for: set[asyncio.Future[Any]] = {answered, stopped}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            return answered.result()
        raise stopped.result()

    def _take(self, job: EndpointJob) -> None:
        """Answer a job from the cache, or have the endpoint asked."""
        if self._cache is None:
            self._dispatcher.take(job)
            return
        if kept := self._cache.find(self._digest(job)):
            self._dispatcher.counters.cache_hits += 1
            self._dialect.notice([kept], {})
            job.done(replace(kept, cached=True))
            return
        self._dispatcher.take(replace(job, done=partial(self._keep, job)))

    def _keep(self, job: EndpointJob, reply: Completion | RowError) -> None:
        """Keep a reply in the cache before it is handed on."""
        if self._cache is not None and isinstance(reply, Completion):
            self._cache.keep(self._digest(job), replace(reply, lost_calls=0))
        job.done(reply)

    def _digest(self, job: EndpointJob) -> bytes:
        """Return what a job's reply is kept under: endpoint, API, model and the request as written, its seed included.

        Samples differ in their seeds, so no two share a reply; what an endpoint does not take is part of it too.
        """
        address, dialect = self._address, self._dialect
        return digest(address.url, address.version, dialect.api, wanted(dialect, job.request, job.sampling))


def _open_cache(address: Address, options: EndpointOptions) -> ReplyCache | None:
    """Open the reply cache, if the options or, without a word in them, the endpoint's place ask for one."""
    wanted = options.cache if options.cache is not None else bool(options.reply_cache) or not address.loopback
    return ReplyCache(options.reply_cache or default_file()) if wanted else None
