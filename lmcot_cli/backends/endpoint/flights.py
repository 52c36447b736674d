"""Calls in the air: which of them are overdue, which may be asked again beside the first, which are lost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lmcot_cli.backends.endpoint.calls import Call
from lmcot_cli.backends.endpoint.concurrency import Sent
from lmcot_cli.backends.endpoint.dialect import Body
from lmcot_cli.backends.endpoint.patience import Patience, TimedAnswer
from lmcot_cli.backends.endpoint.rates import RateEntry

_IN_VAIN = 0.02
"""Share of all calls that may be hedges which were not needed, for the first call was answered after all, or which
are still open. One that is answered in place of a silent call is none, so that silence does not use it up."""

_LOST = 3.0
"""A call that all others overtake is given up when it is overdue by this factor: what an honest endpoint brings so
late (nine times what is plausible) none of the measured ones did."""


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """A call under way: what was said, and what the bookkeepers want to have back.

    Attributes:
        call: What it asks for.
        path: Below the endpoint's URL.
        body: What was sent.
        sent: When, in what company.
        entry: What it took of the tokens per minute.
        tries_breaker: Whether it is to show if the endpoint is up again.
        number: Its place in the order in which calls were sent.
        size: Bytes of its prompt.
        room: Most tokens of its reply.
        timeout: Seconds it may take.
        hedges: Whether it asks again for what another one was silent about.
        guesses: Whether it is so though nothing shows that the endpoint is at work.
    """

    call: Call
    path: str
    body: Body
    sent: Sent
    entry: RateEntry | None
    tries_breaker: bool
    number: int
    size: int
    room: int
    timeout: float
    hedges: bool
    guesses: bool


class Flights:
    """The flights in the air, in the order in which they took off.

    Attributes:
        in_vain: Hedges that were not needed.
    """

    def __init__(self) -> None:
        self._tasks: dict[Flight, asyncio.Task[None]] = {}
        self._patience = Patience()
        self._aside: set[Flight] = set()
        self._stuck = 0
        self.in_vain = 0

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def aside(self) -> int:
        """How many are known to be silent, and keep no other from the air."""
        return len(self._aside)

    def took_off(self, flight: Flight, task: asyncio.Task[None]) -> None:
        """Note a flight, and the task that ends it."""
        self._tasks[flight] = task

    def landed(self, flight: Flight) -> bool:
        """Forget a flight; return whether it was in the air until now."""
        self._aside.discard(flight)
        return self._tasks.pop(flight, None) is not None

    def cancel(self, flight: Flight) -> None:
        """Hang up; `landed` follows."""
        self._tasks[flight].cancel()

    def dropped(self) -> list[Flight]:
        """Return the flights that nobody waits for any more."""
        return [flight for flight in self._tasks if flight.call.dropped]

    def of(self, call: Call) -> list[Flight]:
        """Return the flights of a call beside the one that sends it or has landed, oldest first."""
        if not call.asked_again:
            return []
        return [flight for flight in self._tasks if flight.call is call]

    def learn(self, flight: Flight, tokens: int, now: float) -> None:
        """Learn from an answer how long calls take."""
        self._stuck = 0
        self._patience.learn(TimedAnswer(flight.number, now - flight.sent.at, flight.size, max(1, tokens)))

    def set_aside(self, now: float, *, full: bool) -> None:
        """Set aside silent flights that all others have overtaken.

        Where there is no room for another, and none is expected to land, set one aside to see whether the endpoint
        answers; if it does not either, the next one after twice the time.

        Args:
            now: The caller's clock.
            full: Whether there is no room for another.
        """
        silent = [flight for flight in self._tasks if self._is_silent(flight, now)]
        self._aside.update(flight for flight in silent if self._patience.left_behind(flight.number))
        if full and silent and self.none_expected(now, 2.0**self._stuck):
            self._stuck += 1
            self._aside.update([flight for flight in silent if flight not in self._aside][:1])

    def none_expected(self, now: float, factor: float = 1.0) -> bool:
        """Whether all that are not set aside are silent, for so many times what makes them so."""
        return all(flight in self._aside or self._is_silent(flight, now, factor) for flight in self._tasks)

    def overdue(self, now: float) -> list[Flight]:
        """Return the youngest flight of each call that has been in the air for too long, oldest first."""
        youngest = {flight.call: flight for flight in self._tasks}
        return [flight for flight in youngest.values() if self._is_overdue(flight, now)]

    def lost(self, now: float) -> list[Flight]:
        """Return those that will hardly be answered: long overdue, while all others of their time have been."""
        late = [flight for flight in self._tasks if self._is_overdue(flight, now, _LOST)]
        return [flight for flight in late if self._patience.left_behind(flight.number)]

    def must_guess(self, flight: Flight) -> bool:
        """Whether nothing that was sent after a flight has been answered: the endpoint may be slow with all."""
        return not self._patience.overtaken(flight.number)

    def may_hedge(self, flight: Flight, now: float, queued: int, requests: int) -> bool:
        """Whether a call may be asked again: few may be so in vain, and one alone as long as that is a guess.

        Args:
            flight: Its youngest flight, which is overdue.
            now: The caller's clock.
            queued: Calls that are about to be asked again.
            requests: Calls sent so far.
        """
        open_ones = [one for one in self._tasks if one.hedges and not self._is_overdue(one, now)]
        if self.must_guess(flight) and (queued or any(one.guesses for one in open_ones)):
            return False
        return self.in_vain + queued + len(open_ones) <= _IN_VAIN * requests

    def _is_silent(self, flight: Flight, now: float, factor: float = 1.0) -> bool:
        return now - flight.sent.at >= factor * self._patience.usual(flight.size)

    def _is_overdue(self, flight: Flight, now: float, factor: float = 1.0) -> bool:
        """Whether it is; a call that was asked again is waited for twice as long each time, for it may take long."""
        patience = self._patience.longest(flight.size, flight.room)
        return now - flight.sent.at >= factor * patience * 2.0**flight.call.asked_again
