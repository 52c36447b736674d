"""What waits to be sent: requests, and the calls that carry them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.errors import RowError

GATHERING_SECONDS = 0.005
"""How long a sampled request waits for others of the same prompt: a row's samples are handed in together."""


@dataclass(slots=True, eq=False)
class EndpointJob:
    """One request, where its reply goes, whether one try is enough for it, and whether nobody wants it any more."""

    request: Request
    sampling: Sampling
    done: Callable[[Completion | RowError], None]
    once: bool = False
    dropped: Callable[[], bool] = lambda: False


@dataclass(slots=True, eq=False)
class Call:
    """One HTTP call: a request, or several samples of one prompt at once.

    Attributes:
        jobs: What it asks for: one choice each.
        failures: Times it was tried in vain.
        busy: Those of them for which the endpoint had too much to do.
        failed_at: When that was last, by the dispatcher's clock; None before the first time.
        deadline: When to give it up, by the dispatcher's clock; None before the first try.
        refused_with_n: Whether it was part of a call for several choices that was refused, for whatever reason.
        is_trial: Whether it is to show if the key is good.
        asked_again: Times it was asked again because it was silent for too long.
        not_before: When it may be so at the earliest, by the dispatcher's clock.
        lost: Times it was sent and given up without an answer, for which the endpoint may ask money all the same.
    """

    jobs: list[EndpointJob]
    failures: int = 0
    busy: int = 0
    failed_at: float | None = None
    deadline: float | None = None
    refused_with_n: bool = False
    is_trial: bool = False
    asked_again: int = 0
    not_before: float = 0.0
    lost: int = 0

    @property
    def request(self) -> Request:
        """Return the request that speaks for all; they differ in their seeds only."""
        return self.jobs[0].request

    @property
    def sampling(self) -> Sampling:
        """Return how all of them are sampled."""
        return self.jobs[0].sampling

    @property
    def once(self) -> bool:
        """Whether one try is enough."""
        return self.jobs[0].once

    @property
    def dropped(self) -> bool:
        """Whether nobody wants any of its replies any more."""
        return all(job.dropped() for job in self.jobs)

    def takes(self, job: EndpointJob) -> bool:
        """Whether a job can be asked for along with the others."""
        alike = replace(job.request, seed=self.request.seed) == self.request
        return alike and job.sampling == self.sampling

    def apart(self) -> list[Call]:
        """Return a call for each job."""
        return [replace(self, jobs=[job]) for job in self.jobs]


class Gathering:
    """Puts samples of one prompt into one call, as they come one by one.

    Args:
        line_up: Takes a call that is complete.
    """

    def __init__(self, line_up: Callable[[Call], None]) -> None:
        self._line_up = line_up
        self._open: Call | None = None

    def add(self, job: EndpointJob) -> None:
        """Add a job to the call that it goes with; it is lined up when another prompt or nothing follows."""
        if self._open and self._open.takes(job):
            self._open.jobs.append(job)
            return
        self.close(self._open)
        self._open = Call([job])
        asyncio.get_running_loop().call_later(GATHERING_SECONDS, self.close, self._open)

    def close(self, call: Call | None) -> None:
        """Line up a call, if it is still open."""
        if call is not None and call is self._open:
            self._open = None
            self._line_up(call)
