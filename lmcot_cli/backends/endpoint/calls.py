"""What passes through the layers around the client, and what a layer is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.gate import Admission
from lmcot_cli.backends.endpoint.reply import ReplyUsage
from lmcot_cli.errors import RowError


@dataclass(frozen=True, slots=True)
class EndpointJob:
    """One request, how it is sampled, and whether it is tried only once."""

    request: Request
    sampling: Sampling
    once: bool = False


@dataclass(slots=True, eq=False)
class Call:
    """One HTTP call: a request, or several samples of one prompt at once.

    Attributes:
        jobs: What it asks for: one choice each.
        number: Its place in the queue. Calls are numbered as they come, so one that is retried goes first.
        deadline: When it is given up, by `Gate.clock`; infinite before it was sent.
        refused_with_n: Whether it was part of a call for several choices that was refused, for whatever reason.
        lost: Times it was sent and given up without an answer, for which the endpoint may charge all the same.
        admission: How it was admitted by the gate; None while it waits there.
        hedges: Whether it asks again for what a silent call asked for.
        guesses: Whether it does so though nothing shows that the endpoint is at work.
    """

    jobs: list[EndpointJob]
    number: int
    deadline: float = inf
    refused_with_n: bool = False
    lost: int = 0
    admission: Admission | None = None
    hedges: bool = False
    guesses: bool = False

    @property
    def request(self) -> Request:
        """Return the request that stands for all of them; they differ only in their seeds."""
        return self.jobs[0].request

    @property
    def sampling(self) -> Sampling:
        """Return how all of them are sampled."""
        return self.jobs[0].sampling

    def takes(self, job: EndpointJob) -> bool:
        """Whether a job can be asked for along with the others."""
        alike = replace(job.request, seed=self.request.seed) == self.request
        return alike and job.sampling == self.sampling


@dataclass(frozen=True, slots=True)
class CallReplies:
    """What a call brought.

    Attributes:
        replies: One for each of its jobs; None for each that is to be asked for anew.
        usage: What it cost.
    """

    replies: tuple[Completion | RowError | None, ...]
    usage: ReplyUsage


class AsksCalls(Protocol):
    """A layer around the client; what it cannot settle itself it leaves to the layer around it."""

    async def ask(self, call: Call) -> CallReplies:
        """Return what a call brings.

        Raises:
            EndpointFaultError: It failed, or was refused.
            AdaptedError: It was refused for how it was written, and would be written differently now.
            RowError: It failed for good.
            ModelError: The endpoint as a whole cannot go on.
        """
        ...
