from random import Random

import pytest

from lmcot_cli.backends.endpoint.rates import RatePace, Rates, SlidingWindow


def sent(rates: Rates, count: int, random: Random, tokens: int = 0) -> list[float]:
    """Send as fast as the limits allow; return when each request arrives, up to two seconds after it was sent."""
    now, arrivals = 1000.0, []
    for _ in range(count):
        while (wait := rates.wait(tokens, now)) > 0:
            now += max(wait, 1e-6)  # a clock moves on, however little
        rates.take(tokens, now)
        arrivals.append(now + random.uniform(0.0, 1.99))
        now += random.choice([0.0, 0.0, 0.001])
    return sorted(arrivals)


def most_in_a_minute(arrivals: list[float]) -> int:
    return max(sum(start <= arrival < start + 60 for arrival in arrivals) for start in arrivals)


@pytest.mark.parametrize(("rpm", "seed"), [(1, 0), (7, 1), (60, 2), (200, 3), (333, 4)])
def test_no_minute_holds_more_requests_than_the_limit(rpm: int, seed: int) -> None:
    assert most_in_a_minute(sent(Rates(rpm, None), 4 * rpm + 3, Random(seed))) <= rpm


@pytest.mark.parametrize("rpm", [1, 7, 60, 1000])
def test_nearly_all_of_the_limit_is_used(rpm: int) -> None:
    arrivals = sent(Rates(rpm, None), 5 * rpm, Random(0))
    minutes = (arrivals[-1] - arrivals[0]) / 60
    assert 5 * rpm / minutes > 0.95 * rpm


def test_no_minute_holds_more_tokens_than_the_limit() -> None:
    rates, random = Rates(None, 1000), Random(0)
    now, taken = 0.0, list[tuple[float, int]]()
    for _ in range(100):
        reckoned = random.randrange(50, 400)
        now += rates.wait(reckoned, now)
        entry = rates.take(reckoned, now)
        actual = random.randrange(1, reckoned + 1)
        taken.append((now, actual))
        now += random.uniform(0.0, 1.0)
        rates.correct(entry, actual, now)
    sums = [sum(amount for at, amount in taken if start <= at < start + 60) for start, _ in taken]
    assert max(sums) <= 1000
    assert max(sums) > 800


def test_a_correction_after_the_minute_changes_nothing() -> None:
    window = SlidingWindow(10)
    entry = window.take(8, 0.0)
    window.correct(entry, 2, 100.0)
    assert window.wait(10, 100.0) == 0.0


def test_no_limit_never_waits() -> None:
    rates = Rates(None, None)
    assert [rates.wait(10**9, 0.0) for _ in range(3) if rates.take(10**9, 0.0) is None] == [0.0] * 3


def test_an_even_flow_after_a_second_s_share() -> None:
    pace, now = RatePace(600), 0.0
    at_once = 0
    while pace.wait(now) == 0.0:
        pace.take(now)
        at_once += 1
    assert at_once == 10
    assert pace.wait(now) == pytest.approx(0.1)
