"""The bound on calls in flight, on a server that is simulated call by call."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

import pytest

from lmcot_cli.backends.endpoint.concurrency import START, InFlight


def simulate(
    bound: InFlight,
    calls: int,
    accepts: Callable[[int], bool],
    latency: Callable[[int], float],
    reading: float = 0.0,
) -> tuple[float, list[int]]:
    """Keep as many calls in flight as the bound allows; return how long that took, and the bound after each.

    The client takes `reading` seconds for a reply, one after another; the server is done with a call before.
    """
    now, landing, bounds, number = 1000.0, list[tuple[float, int, object]](), list[int](), 0
    at_work: list[float] = []
    while len(bounds) < calls:
        while not bound.full:
            while at_work and at_work[0] < now:
                heapq.heappop(at_work)
            sent, good = bound.sent(now), accepts(len(at_work))
            number += 1
            seconds = latency(len(at_work) + 1) if good else 0.001
            if good:
                heapq.heappush(at_work, now + seconds)
            heapq.heappush(landing, (now + seconds, number, (sent, good)))
        landed, _, (sent, good) = heapq.heappop(landing)  # type: ignore[misc]
        now = max(now, landed) + reading
        bound.over()
        if good:
            if at_work and at_work[0] <= landed:
                heapq.heappop(at_work)
            bound.answered(sent, now)
            bounds.append(bound.bound)
        else:
            bound.refused(sent, now)
    return now - 1000.0, bounds


def test_it_grows_to_the_most_while_latency_holds() -> None:
    _, bounds = simulate(InFlight(100), 1000, lambda _: True, lambda _: 0.2)
    assert bounds[0] <= START + 1
    assert bounds[300] == 100


def test_it_stays_where_latency_begins_to_rise() -> None:
    """A server with 32 workers and a queue: twice as many calls take twice as long."""
    _, bounds = simulate(InFlight(1000), 3000, lambda _: True, lambda working: 0.2 * max(1.0, working / 32))
    assert 32 <= bounds[-1] <= 160


def test_one_refusal_halves_it_and_others_of_the_same_round_trip_do_not() -> None:
    bound = InFlight(64)
    simulate(bound, 500, lambda _: True, lambda _: 0.2)
    in_flight = [bound.sent(10_000.0) for _ in range(64 - bound.count)]
    assert bound.count == bound.bound == 64
    for sent in in_flight[:3]:
        bound.over()
        bound.refused(sent, 10_000.1)
    assert bound.bound == 63 // 2


def test_it_never_falls_below_one_and_comes_back() -> None:
    bound = InFlight(64)
    for now in range(20):
        sent = bound.sent(now)
        bound.over()
        bound.refused(sent, now)
    assert bound.bound == 1
    simulate(bound, 2000, lambda _: True, lambda _: 0.2)
    assert bound.bound > 16


@pytest.mark.parametrize("seed", range(4))
def test_a_server_with_room_for_64_is_kept_full(seed: int) -> None:
    random = Random(seed)
    seconds, _ = simulate(
        InFlight(256), 8000, lambda working: working < 64, lambda _: random.uniform(0.18, 0.22)
    )
    assert seconds < 1.1 * 8000 * 0.2 / 64


def test_a_busy_machine_that_makes_latency_jump_does_not_keep_it_down() -> None:
    random = Random(0)
    _, bounds = simulate(
        InFlight(32), 8000, lambda _: random.random() > 0.1, lambda _: 0.02 * random.choice([1, 1, 1, 20])
    )
    assert sum(bounds[4000:]) / len(bounds[4000:]) > 12


@pytest.mark.parametrize("seed", range(4))
def test_refusals_that_strike_at_random_cost_little(seed: int) -> None:
    random = Random(seed)
    _, bounds = simulate(InFlight(32), 8000, lambda _: random.random() > 0.1, lambda _: 0.2)
    assert sum(bounds[4000:]) / len(bounds[4000:]) > 24


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("reading", [0.0015, 0.0033])
def test_replies_that_wait_to_be_read_are_not_taken_for_room(seed: int, reading: float) -> None:
    """A client that is slow to read has more in flight than the server has at work; going by that storms it."""
    random, refused = Random(seed), 0

    def accepts(working: int) -> bool:
        nonlocal refused
        refused += working >= 64
        return working < 64

    seconds, _ = simulate(InFlight(256), 8000, accepts, lambda _: random.uniform(0.19, 0.21), reading=reading)
    assert refused < 100
    assert seconds < 1.1 * 8000 * max(0.2 / 64, reading)
