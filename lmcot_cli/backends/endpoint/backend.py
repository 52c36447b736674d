"""The `Backend` of OpenAI-compatible endpoints."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine
from contextlib import ExitStack
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
from lmcot_cli.backends.endpoint.cache import ReplyCache, default_file
from lmcot_cli.backends.endpoint.cached import Cached
from lmcot_cli.backends.endpoint.calls import EndpointJob
from lmcot_cli.backends.endpoint.client import Client
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.endpoint.dialect import Dialect
from lmcot_cli.backends.endpoint.forbidden import Doubting
from lmcot_cli.backends.endpoint.gate import Gate
from lmcot_cli.backends.endpoint.gated import Gated
from lmcot_cli.backends.endpoint.hedging import Hedging
from lmcot_cli.backends.endpoint.key import ApiKey, find_key
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.endpoint.probe import Probe
from lmcot_cli.backends.endpoint.retrying import Retrying
from lmcot_cli.backends.endpoint.sharing import Sharing
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
        self._options = options or EndpointOptions()
        self.identity = ModelIdentity(address.spec, None)
        key = find_key(address, self._options)
        self._arrived: SimpleQueue[Reply | BaseException] = SimpleQueue()
        self._open: set[int] = set()
        self._tasks: dict[int, asyncio.Task[Completion | RowError]] = {}
        self._failure: BaseException | None = None
        self._counters = Counters()
        self._loop = asyncio.new_event_loop()
        with ExitStack() as opened:
            self._cache = _open_cache(address, self._options)
            if self._cache:
                opened.callback(self._cache.close)
            opened.callback(self._start_thread())
            self._run(self._connect(address, key))
            opened.callback(lambda: self._run(self._disconnect()))
            probe = Probe(address, self._options, self._client, self._dialect, self._count, self._asker.ask)
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
        return self._counters

    @property
    def window(self) -> int:
        """Return how many calls may be in flight, as many again in reserve, and those that keep no other waiting.

        These sleep until their next try, or are known to be silent.
        """
        in_flight = self._gate.in_flight
        asleep = min(self._retrying.sleeping, self._options.max_in_flight)
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
        self._loop.call_soon_threadsafe(self._begin, ticket, EndpointJob(request, sampling))

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
        self._loop.call_soon_threadsafe(self._drop, tickets)

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

    async def _connect(self, address: Address, key: ApiKey) -> None:
        """Put the layers around the client; a request passes them from the last to the first."""
        self._loop.set_exception_handler(self._report_bug)
        options, counters = self._options, self._counters
        self._dialect = dialect = Dialect.of(address, options.endpoint_api, options.fields)
        self._client = Client(address, key, options)
        self._gate = gate = Gate(address.url, options, self._arrived.put)
        gated = Gated(self._client, gate, dialect, key, options, counters)
        self._retrying = Retrying(Hedging(gated, gate, dialect, counters), gate)
        sharing = Sharing(Doubting(self._retrying, key, address.url), dialect, counters)
        self._asker = Cached(sharing, self._cache, dialect, counters)

    def _report_bug(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Hand the exception of a callback to `poll`, which would else wait forever for what it was to bring."""
        if "handle" in context and "exception" in context:
            self._gate.stop(context["exception"])
        else:
            loop.default_exception_handler(context)

    def _count(self) -> None:
        """Count a request that is sent past the layers."""
        self._counters.requests += 1
        self._gate.count()

    def _begin(self, ticket: int, job: EndpointJob) -> None:
        if ticket in self._open:  # else it was cancelled
            self._tasks[ticket] = task = self._loop.create_task(self._asker.ask(job))
            task.add_done_callback(partial(self._finish, ticket))

    def _finish(self, ticket: int, task: asyncio.Task[Completion | RowError]) -> None:
        """Have a reply picked up; an error is one after which nothing more is asked, or a bug."""
        del self._tasks[ticket]
        if task.cancelled():
            return
        if error := task.exception():
            self._gate.stop(error)
        else:
            self._arrived.put((ticket, task.result()))

    def _drop(self, tickets: Collection[int]) -> None:
        for ticket in tickets:
            if task := self._tasks.get(ticket):
                task.cancel()

    async def _disconnect(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()


def _open_cache(address: Address, options: EndpointOptions) -> ReplyCache | None:
    """Open the reply cache, if the options or, without a word in them, the endpoint's place ask for one."""
    wanted = options.cache if options.cache is not None else bool(options.reply_cache) or not address.loopback
    return ReplyCache(options.reply_cache or default_file()) if wanted else None
