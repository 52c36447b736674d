"""Keep the models busy with many rows at once, and give the rows back in the order in which they came.

    items ──> admit ──> waves of requests ──> small ──> large ──> ... ──> outcome, in order

Everything happens in one thread: a local model computes while it is polled, a served one works in the background. Rows
are admitted while the first model has room, not too many are under way, and those that are done and wait for one before
them do not hold too much, so memory does not grow with the input.

A row is not to wait for many others, either. A model that computes here has one row to begin with, two more for each
that is done, until it is full: the first row is written as soon as if it were alone. And where nothing was written for
`OVERDUE_SECONDS`, the model that the first row waits for goes on, however few requests it has.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Generic, TypeAlias, TypeVar, cast

from lmcot_cli.backends.base import Backend, Completion
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import OutOfBudgetError, RowError
from lmcot_cli.pipeline.budget import Budget
from lmcot_cli.pipeline.cost import Price
from lmcot_cli.pipeline.held import MOST_BYTES, held_bytes
from lmcot_cli.pipeline.journal import Recorded
from lmcot_cli.pipeline.pace import Pace
from lmcot_cli.pipeline.result import CutShort, TokenCounts
from lmcot_cli.pipeline.waves import CutShortError, Drawn, Method, RowWork, Wave

T = TypeVar("T")
Outcome: TypeAlias = Drawn | RowError
Spent: TypeAlias = Mapping[Backend, TokenCounts]
"""The tokens that a row took of each model."""

_ROWS_PER_REQUEST = 4
"""Rows under way for each request that the models want: with fewer, one model waits for the rows of the other."""

OVERDUE_SECONDS = 10.0
"""How long the first row may wait for a model to have a batch full; a batch of its own costs little beside that."""


@dataclass(frozen=True, slots=True)
class Finishing:
    """What is finished before a run stops.

    Attributes:
        rows: How many rows.
        seconds: How long that may take, by what this run took so far; None where it has shown nothing yet.
        within: How long it may take at most.
    """

    rows: int
    seconds: float | None
    within: float


@dataclass(eq=False, slots=True)
class _RowJob:
    """A row under way.

    Attributes:
        item: The row, or what stands in the place of one.
        work: What the method does with it.
        replies: Those to the present wave, None where one is missing.
        missing: How many are.
        asks: The model that is asked for them.
        done: Whether there is nothing left to do.
        outcome: What became of the row; None for what is no row.
        spent: Tokens of the replies so far.
        replied: Whether there was any reply so far.
        dropped: Whether nothing more is done for it.
        held: Bytes that it holds once it is done.
    """

    item: object
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
        """Note what became of the row, and let go of the prompts and replies that led there."""
        self.outcome, self.done = outcome, True
        self.work, self.replies = None, []
        self.held = held_bytes(self.item, outcome)


def _tell_nobody(finishing: Finishing) -> None:
    """Say nothing of what is finished."""


class Flow(Generic[T]):
    """Runs a method over rows.

    Args:
        method: What happens to a row.
        models: The models it asks, the first one first, each with the price of its tokens.
        budget: What may be spent; None where nothing limits it.
        one_by_one: Finish each row, and reset the models, before the next begins.
        would_wait: Whether the next row is not there yet; rows under way are not held up by waiting for it.
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
        self._under_way = self._held = 0
        self._pace = Pace()
        self._written_at = monotonic()
        self._stop_by: float | None = None
        self._within = 0.0
        self._tell: Callable[[Finishing], None] = _tell_nobody
        self._winds_down = False

    def stop(self, within: float, tell: Callable[[Finishing], None] = _tell_nobody) -> bool:
        """Begin no more rows, drop those without a reply, and finish of the others what can be done in time.

        It may be called at any point of a run, and is acted upon at the next turn.

        Args:
            within: Seconds that finishing may take.
            tell: Is told once what is finished.

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

    def left(self) -> Iterator[tuple[Row | T, Outcome | None, Spent]]:
        """Take the rows that were done, but not given out, for one before them was not done."""
        for job in self._jobs:
            if job.done:
                yield cast("Row | T", job.item), job.outcome, job.spent
        self._jobs.clear()

    def run(self, items: Iterator[Row | T]) -> Iterator[tuple[Row | T, Outcome | None, Spent]]:
        """Yield every item in order, a row with its outcome and what it took; what is no row passes through.

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
                yield cast("Row | T", job.item), job.outcome, job.spent
                self._written_at = monotonic()
            if self._asked:
                self._work()
            elif self._winds_down:
                self._look_for_end(items)
                return
            elif not self._jobs and self._ended:
                return

    def _wind_down(self, items: Iterator[Row | T]) -> None:
        """Drop what is not to be finished: at first what has no reply, once the time is over all."""
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

    def _look_for_end(self, items: Iterator[Row | T]) -> None:
        """See whether the row that came out last was the last of the input."""
        if not (self._jobs or self._ended or self._would_wait()):
            self._ended = next(items, None) is None

    def _nearest(self, jobs: Sequence[_RowJob]) -> tuple[list[_RowJob], float | None]:
        """Choose the first rows, as many as can be finished in time; return how long that will take."""
        kept: list[_RowJob] = []
        seconds: float | None = 0.0
        for job in jobs:
            more = self._pace.seconds([self._replies_left(one) for one in (*kept, job)])
            if more is not None and more > self._within:
                break
            kept, seconds = [*kept, job], more
        return kept, seconds

    def _replies_left(self, job: _RowJob) -> dict[Backend, int]:
        """Return how many replies a row waits for: those of its wave, and as many of the later models."""
        place = self._models.index(job.asks) if job.asks else 0
        return {self._models[place]: job.missing} | {
            model: len(job.replies) for model in self._models[place + 1 :]
        }

    def _drop(self, jobs: Sequence[_RowJob]) -> None:
        """Do nothing more for some rows."""
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
        return self._under_way >= most or self._held >= MOST_BYTES

    def _admit(self, items: Iterator[Row | T]) -> None:
        """Begin as many rows as the first model has room for."""
        first = self._models[0]
        while not (self._ended or self._full or first.pending >= first.window):
            if self._under_way >= self._room:
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

    def _begin(self, item: Row | T) -> None:
        if self._one_by_one:
            for model in self._models:
                model.reset()
        job = _RowJob(item)
        self._jobs.append(job)
        self._under_way += 1
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
        """Let a row's work go on up to its next wave or its end."""
        assert job.work is not None
        try:
            wave = go_on(job.work)
        except StopIteration as end:
            self._end(job, end.value)
        except RowError as error:
            self._end(job, error)
        else:
            if wave.lead is None or self._budget is None:
                self._hand_in(job, wave)
            else:
                heapq.heappush(self._optional, (wave.lead, next(self._numbers), job, wave))

    def _end(self, job: _RowJob, outcome: Outcome | None) -> None:
        """Note what became of a row, and make room for two more."""
        job.end(outcome)
        self._under_way -= 1
        self._held += job.held
        if isinstance(job.item, Row):
            self._room += 1

    def _hand_in(self, job: _RowJob, wave: Wave) -> None:
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
        """Hand in the samples that rows can do without, of the closest vote first, once no row waits to begin."""
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
                self._refuse(job, limit)
            else:
                self._hand_in(job, wave)

    def _refuse(self, job: _RowJob, limit: CutShort) -> None:
        self._advance(job, lambda work: work.throw(CutShortError(limit)))

    def _work(self) -> None:
        """Pick up what has come, or work until something comes."""
        arrived = [reply for model in self._models for reply in model.poll(wait=False)]
        if not arrived:
            model = self._next_model()
            with self._pace.of(model):
                arrived = model.poll()
        for ticket, reply in arrived:
            self._deliver(ticket, reply)

    def _next_model(self) -> Backend:
        """Choose the model to wait for: one that computes here, a later one only once it can fill a batch.

        Where the first row is overdue, or the run stops, it is the one which that row waits for.
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


def _send(work: RowWork, replies: Sequence[Completion | RowError | None]) -> Wave:
    """Send a wave's completions into a row's work, or raise the first error among them in it."""
    for reply in replies:
        if isinstance(reply, RowError):
            return work.throw(reply)
    return work.send([reply for reply in replies if isinstance(reply, Completion)])
