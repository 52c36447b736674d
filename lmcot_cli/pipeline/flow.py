"""Keep the models busy with many rows at once, and return the rows in the order in which they came.

    items ──> admit ──> waves of requests ──> small ──> large ──> ... ──> outcome, in order

Everything happens in one thread: a local model computes while it is polled, a served one works in the background. Rows
are admitted while the first model has room, not too many are in flight, and those that are done and wait for an earlier
one do not hold too much, so memory does not grow with the input.

No row waits long for others, either. A model that computes here starts with one row and gets two more for each that is
done, until it is full: the first row is written as soon as if it were alone. Where nothing was written for
`OVERDUE_SECONDS`, the model that the first row waits for runs next, however few requests it has.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import NamedTuple, TypeAlias

from lmcot_cli.backends.base import Backend, Completion
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import OutOfBudgetError, RowError
from lmcot_cli.pipeline.budget import Budget
from lmcot_cli.pipeline.cost import Price
from lmcot_cli.pipeline.held import MOST_BYTES, held_bytes
from lmcot_cli.pipeline.journal import Item, Recorded
from lmcot_cli.pipeline.pace import Pace
from lmcot_cli.pipeline.result import CutShort, TokenCounts
from lmcot_cli.pipeline.waves import CutShortError, Drawn, Method, RowWork, Wave

Outcome: TypeAlias = Drawn | RowError

_ROWS_PER_REQUEST = 4
"""Rows in flight for each request that the models want: with fewer, one model waits for the rows of the other."""

OVERDUE_SECONDS = 10.0
"""How long the first row may wait until a model can fill a batch; a batch of its own costs little beside that."""


class RowDone(NamedTuple):
    """An item that came out of the flow.

    Attributes:
        item: The item.
        outcome: The samples or the error of a row; None for any other item.
        spent: The tokens that the row used of each model.
    """

    item: Item
    outcome: Outcome | None
    spent: Mapping[Backend, TokenCounts]


@dataclass(frozen=True, slots=True)
class Finishing:
    """The rows that a run finishes before it stops.

    Attributes:
        rows: How many.
        seconds: How long they may take, at the pace so far; None where no model has replied yet.
        within: How long they may take at most.
    """

    rows: int
    seconds: float | None
    within: float


@dataclass(eq=False, slots=True)
class _RowJob:
    """A row in flight.

    Attributes:
        item: The row, or what takes the place of one.
        work: The method's work on it.
        replies: The replies to the current wave, None where one is missing.
        missing: How many are missing.
        asks: The model that is asked for them.
        done: Whether there is nothing left to do.
        outcome: See `RowDone`.
        spent: See `RowDone`.
        replied: Whether any reply has come so far.
        dropped: Whether its work is abandoned.
        held: Bytes that it holds once it is done.
    """

    item: Item
    work: RowWork | None = None
    replies: list[Completion | RowError | None] = field(default_factory=list)
    missing: int = 0
    asks: Backend | None = None
    done: bool = False
    outcome: Outcome | None = None
    spent: dict[Backend, TokenCounts] = field(default_factory=dict)
    replied: bool = False
    dropped: bool = False
    held: int = 0

    def end(self, outcome: Outcome | None) -> None:
        """Keep the outcome, and release the prompts and replies that led to it."""
        self.outcome, self.done = outcome, True
        self.work, self.replies = None, []
        self.held = held_bytes(self.item, outcome)

    def result(self) -> RowDone:
        """Return the item with its outcome."""
        return RowDone(self.item, self.outcome, self.spent)


class Flow:
    """Runs a method over rows.

    Args:
        method: Answers a row.
        models: The models that it asks, in order, each with the price of its tokens.
        budget: The budget of the run; None where nothing limits it.
        one_by_one: Whether to finish each row, and reset the models, before the next begins.
        would_wait: Whether the next row is not there yet; the rows in flight do not wait for it.
    """

    def __init__(
        self,
        method: Method,
        models: Mapping[Backend, Price],
        *,
        budget: Budget | None = None,
        one_by_one: bool = False,
        would_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self._method, self._models, self._would_wait = method, list(models), would_wait
        self._prices = models
        self._budget, self._one_by_one = budget, one_by_one
        self._jobs: deque[_RowJob] = deque()
        self._asked: dict[int, tuple[_RowJob, int, Backend]] = {}
        self._numbers = count()
        self._optional: list[tuple[float, int, _RowJob, Wave]] = []
        self._ended = False
        self._room = float("inf") if budget or self._models[0].in_background else 1.0
        self._in_flight = self._held = 0
        self._pace = Pace()
        self._written_at = monotonic()
        self._stop_by: float | None = None
        self._within = 0.0
        self._tell: Callable[[Finishing], None] = lambda finishing: None
        self._winds_down = False

    def stop(self, within: float, tell: Callable[[Finishing], None] = lambda finishing: None) -> bool:
        """Begin no more rows, drop those without a reply, and finish as many of the others as there is time for.

        It may be called at any point of a run and takes effect at the next turn.

        Args:
            within: Seconds that finishing may take.
            tell: Is told once which rows are finished.

        Returns:
            Whether there is anything to finish, or nothing left to do at all.
        """
        self._within, self._tell = within, tell
        self._stop_by = monotonic() + within
        return bool(self._jobs) or self._ended

    @property
    def is_complete(self) -> bool:
        """Whether every row of the input has come out."""
        return self._ended and not self._jobs

    def left(self) -> Iterator[RowDone]:
        """Yield and remove the rows that were done but did not come out, because an earlier one was not done."""
        for job in self._jobs:
            if job.done:
                yield job.result()
        self._jobs.clear()

    def run(self, items: Iterator[Item]) -> Iterator[RowDone]:
        """Yield every item in order, a row with its outcome; any other item passes through.

        After `stop` it ends where a row is missing; see `left`.

        Raises:
            ModelError: A model cannot go on.
        """
        while True:
            if self._stop_by is None:
                self._admit(items)
            else:
                self._wind_down(items)
            self._grant()
            while self._jobs and self._jobs[0].done:
                job = self._jobs.popleft()
                self._held -= job.held
                yield job.result()
                self._written_at = monotonic()
            if self._asked:
                self._work()
            elif self._winds_down:
                self._look_for_end(items)
                return
            elif not self._jobs and self._ended:
                return

    def _wind_down(self, items: Iterator[Item]) -> None:
        """Drop the rows that will not be finished: at first those without a reply, all of them when time is up."""
        assert self._stop_by is not None
        open_jobs = [job for job in self._jobs if not (job.done or job.dropped)]
        if monotonic() >= self._stop_by:
            self._drop(open_jobs)
        elif not self._winds_down:
            kept, seconds = self._nearest([job for job in open_jobs if job.replied])
            self._drop([job for job in open_jobs if job not in kept])
            if kept:
                self._tell(Finishing(len(kept), seconds, self._within))
        self._winds_down = True

    def _look_for_end(self, items: Iterator[Item]) -> None:
        """Find out whether the row that came out last was the last of the input."""
        if not (self._jobs or self._ended or self._would_wait()):
            self._ended = next(items, None) is None

    def _nearest(self, jobs: Sequence[_RowJob]) -> tuple[list[_RowJob], float | None]:
        """Return the first rows, as many as can be finished in time, and how long that will take."""
        kept: list[_RowJob] = []
        seconds: float | None = 0.0
        for job in jobs:
            more = self._pace.seconds([self._replies_left(one) for one in (*kept, job)])
            if more is not None and more > self._within:
                break
            kept, seconds = [*kept, job], more
        return kept, seconds

    def _replies_left(self, job: _RowJob) -> dict[Backend, int]:
        """Return how many replies a row still needs of each model: those of its wave, and as many of later models."""
        place = self._models.index(job.asks) if job.asks else 0
        return {self._models[place]: job.missing} | {
            model: len(job.replies) for model in self._models[place + 1 :]
        }

    def _drop(self, jobs: Sequence[_RowJob]) -> None:
        """Abandon the work on some rows."""
        for job in jobs:
            job.dropped = True
        asked = [(ticket, model) for ticket, (job, _, model) in self._asked.items() if job.dropped]
        for model in self._models:
            model.cancel({ticket for ticket, of in asked if of is model})
        for ticket, _ in asked:
            del self._asked[ticket]
        self._optional = [one for one in self._optional if not one[2].dropped]
        heapq.heapify(self._optional)

    @property
    def _full(self) -> bool:
        if self._one_by_one:
            return bool(self._jobs)
        most = _ROWS_PER_REQUEST * max(model.window for model in self._models)
        return self._in_flight >= most or self._held >= MOST_BYTES

    def _admit(self, items: Iterator[Item]) -> None:
        """Begin as many rows as the first model has room for."""
        first = self._models[0]
        while not (self._ended or self._full or first.pending >= first.window):
            if self._in_flight >= self._room:
                return
            if self._jobs and self._would_wait():
                return
            if self._asked and self._budget and self._budget.is_tight():
                return
            item = next(items, None)
            if item is None:
                self._ended = True
            else:
                self._begin(item)

    def _begin(self, item: Item) -> None:
        if self._one_by_one:
            for model in self._models:
                model.reset()
        job = _RowJob(item)
        self._jobs.append(job)
        self._in_flight += 1
        if not isinstance(item, Row):
            self._end(job, None)
        elif self._budget and (limit := self._budget.spent()):
            self._end(job, OutOfBudgetError(limit))
        else:
            job.work = self._method(item)
            self._advance(job, lambda work: next(work))
        if self._budget and not isinstance(item, Recorded):  # those are counted from the start
            self._budget.begun += 1

    def _advance(self, job: _RowJob, go_on: Callable[[RowWork], Wave]) -> None:
        """Continue a row's work up to its next wave or its end."""
        assert job.work is not None
        try:
            wave = go_on(job.work)
        except StopIteration as end:
            self._end(job, end.value)
        except RowError as error:
            self._end(job, error)
        else:
            if wave.lead is None or self._budget is None:
                self._submit(job, wave)
            else:
                heapq.heappush(self._optional, (wave.lead, next(self._numbers), job, wave))

    def _end(self, job: _RowJob, outcome: Outcome | None) -> None:
        """Keep the outcome of a row, and make room for two more."""
        job.end(outcome)
        self._in_flight -= 1
        self._held += job.held
        if isinstance(job.item, Row):
            self._room += 1

    def _submit(self, job: _RowJob, wave: Wave) -> None:
        job.replies = [None] * len(wave.asks)
        job.missing = len(wave.asks)
        job.asks = wave.asks[0].model
        for place, ask in enumerate(wave.asks):
            ticket = next(self._numbers)
            self._asked[ticket] = (job, place, ask.model)
            if self._budget:
                self._budget.reserve(ask.request, ask.sampling)
            self._pace.asked(ticket)
            ask.model.submit(ticket, ask.request, ask.sampling)

    def _grant(self) -> None:
        """Submit the waves that rows can do without, the closest vote first, once no row waits to begin."""
        first = self._models[0]
        while self._optional and first.pending < first.window:
            if self._asked and not (self._ended or self._full or self._would_wait()):
                return
            assert self._budget is not None
            if self._asked and self._budget.is_tight(self._budget.share_of_begun):
                return
            limit = self._budget.refused()
            _, _, job, wave = heapq.heappop(self._optional)
            if limit:
                self._advance(job, _refusal(limit))
            else:
                self._submit(job, wave)

    def _work(self) -> None:
        """Deliver the replies that have come; where there are none, let a model work until one comes."""
        arrived = [reply for model in self._models for reply in model.poll(wait=False)]
        if not arrived:
            model = self._next_model()
            with self._pace.of(model):
                arrived = model.poll()
        for ticket, reply in arrived:
            self._deliver(ticket, reply)

    def _next_model(self) -> Backend:
        """Return the model to wait for: one that computes here, a later one only once it can fill a batch.

        Where the first row is overdue, or the run stops, it is the model that this row waits for.
        """
        waiting = [model for model in self._models if model.pending]
        here = [model for model in waiting if not model.in_background]
        front = next((job.asks for job in self._jobs if not (job.done or job.dropped)), None)
        late = self._winds_down or monotonic() - self._written_at > OVERDUE_SECONDS
        if late and front in here:
            return front
        filled = [model for model in reversed(here) if model.pending >= model.window]
        return (filled or here or sorted(waiting, key=lambda model: -model.pending))[0]

    def _deliver(self, ticket: int, reply: Completion | RowError) -> None:
        job, place, model = self._asked.pop(ticket)
        self._pace.replied(model, ticket)
        job.replies[place] = reply
        job.replied = True
        job.missing -= 1
        if isinstance(reply, Completion):
            job.spent[model] = job.spent.get(model, TokenCounts()) + TokenCounts.of(reply)
        if self._budget:
            self._budget.spend(reply, self._prices[model])
        if job.missing == 0:
            self._advance(job, lambda work: _send(work, job.replies))


def _refusal(limit: CutShort) -> Callable[[RowWork], Wave]:
    return lambda work: work.throw(CutShortError(limit))


def _send(work: RowWork, replies: Sequence[Completion | RowError | None]) -> Wave:
    """Send a wave's completions to a row's work, or raise the first error among them in it."""
    for reply in replies:
        if isinstance(reply, RowError):
            return work.throw(reply)
    return work.send([reply for reply in replies if isinstance(reply, Completion)])
