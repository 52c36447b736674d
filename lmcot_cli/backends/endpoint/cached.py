"""Answer requests from the reply cache, and keep what is paid for."""

from __future__ import annotations

from dataclasses import replace

from lmcot_cli.backends.base import Completion
from lmcot_cli.backends.endpoint.cache import ReplyCache, digest
from lmcot_cli.backends.endpoint.calls import EndpointJob
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.endpoint.dialect import Dialect, wanted
from lmcot_cli.backends.endpoint.sharing import Sharing
from lmcot_cli.errors import RowError


class Cached:
    """Answers what is kept, and keeps what it has to ask for."""

    def __init__(
        self, inner: Sharing, cache: ReplyCache | None, dialect: Dialect, counters: Counters
    ) -> None:
        self._inner, self._cache, self._dialect, self._counters = inner, cache, dialect, counters

    async def ask(self, job: EndpointJob) -> Completion | RowError:
        """Return the reply to a request; see `Sharing.ask`."""
        if self._cache is None:
            return await self._inner.ask(job)
        if kept := self._cache.find(self._digest(job)):
            self._counters.cache_hits += 1
            self._dialect.notice([kept], {})
            return replace(kept, cached=True)
        reply = await self._inner.ask(job)
        if isinstance(reply, Completion):
            self._cache.keep(self._digest(job), replace(reply, lost_calls=0))
        return reply

    def _digest(self, job: EndpointJob) -> bytes:
        """Return what a job's reply is kept under: endpoint, API, model and the request as written, its seed included.

        Samples differ in their seeds, so no two share a reply; what an endpoint does not take is part of it too.
        """
        address, dialect = self._dialect.address, self._dialect
        return digest(address.url, address.version, dialect.api, wanted(dialect, job.request, job.sampling))
