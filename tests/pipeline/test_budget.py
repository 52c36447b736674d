import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling, Shot
from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.budget import Budget, parse_duration
from lmcot_cli.pipeline.cost import Price


def test_tokens_run_out():
    budget = Budget(max_tokens=100, rows=10)
    budget.tokens = 99
    assert budget.spent() is None
    budget.tokens = 100
    assert budget.spent() == "max_tokens_total"


def test_calls_that_were_lost_count_like_the_one_that_was_answered():
    budget = Budget(max_tokens=100)
    budget.reserve(Request("a", 0), Sampling())
    budget.spend(Completion("b", 7, 2, "stop", None, lost_calls=2), Price(1e6, 1e6))
    assert (budget.tokens, budget.cost) == (27, 27.0)


def test_time_runs_out():
    now = [5.0]
    budget = Budget(seconds=10, clock=lambda: now[0])
    now[0] = 14.9
    assert budget.spent() is None
    now[0] = 15.0
    assert budget.spent() == "deadline"


def test_rows_that_have_not_begun_keep_their_share():
    budget = Budget(max_tokens=100, rows=10, begun=5)
    budget.tokens = 49
    assert budget.refused() is None
    budget.tokens = 50
    assert (budget.refused(), budget.spent()) == ("max_tokens_total", None)


def test_where_nobody_knows_how_many_rows_there_are_first_come_is_first_served():
    budget = Budget(max_tokens=100, begun=5)
    budget.tokens = 99
    assert budget.refused() is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2.5h", 9000), ("0.5s", 0.5)]
)
def test_a_time_is_read_as_it_is_written(text: str, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "10 m", "-5m", "0s", "5m!", "1d"])
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(UsageError, match="1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    "request_",
    [Request("x" * 400, 0), Request("x", 0, "s" * 400), Request("x", 0, shots=(Shot("p" * 400, "r"),))],
)
def test_what_is_set_aside_counts_all_that_stands_before_a_prompt(request_: Request):
    budget = Budget(max_tokens=100)
    budget.reserve(Request("x", 0), Sampling(max_tokens=8))
    assert not budget.is_tight()
    budget.reserve(request_, Sampling(max_tokens=8))
    assert budget.is_tight()
