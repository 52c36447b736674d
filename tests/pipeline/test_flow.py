from collections.abc import Collection, Iterator, Sequence
from itertools import count
from time import monotonic, sleep

import pytest

from lmcot_cli.backends.base import (
    Backend,
    Completion,
    ModelIdentity,
    Reply,
    Request,
    RowError,
    Sampling,
)
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.pipeline.budget import Budget
from lmcot_cli.pipeline.cost import FREE, Price
from lmcot_cli.pipeline.flow import Finishing, Flow, RowDone
from lmcot_cli.pipeline.result import TokenCounts
from lmcot_cli.pipeline.waves import Ask, CutShortError, Drawn, Wave

NO_ROW = BadRow("no row", None, 3, RowError("no JSON"))


class Desk(Backend):
    """A model that finishes one request a poll, the latest first, and remembers the most it ever had pending."""

    next = -1
    window = 0
    identity = ModelIdentity("desk", None)

    def __init__(self, window: int, in_background: bool = False) -> None:
        self.window, self.in_background = window, in_background
        self.waiting: list[tuple[int, Request]] = []
        self.most = self.polls = self.resets = 0
        self.cancelled: list[str] = []

    @property
    def pending(self) -> int:
        return len(self.waiting)

    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        self.waiting.append((ticket, request))
        self.most = max(self.most, len(self.waiting))

    def poll(self, *, wait: bool = True) -> list[Reply]:
        if not self.waiting or (not wait and not self.in_background):
            return []
        self.polls += 1
        ticket, request = self.waiting.pop(self.next)
        failed = "bad" in request.prompt
        return [(ticket, RowError("no") if failed else Completion(request.prompt, 1, 1, "stop", None))]

    def cancel(self, tickets: Collection[int]) -> None:
        self.cancelled += [request.prompt for ticket, request in self.waiting if ticket in tickets]
        self.waiting = [one for one in self.waiting if one[0] not in tickets]

    def reset(self) -> None:
        assert not self.waiting
        self.resets += 1

    def close(self) -> None:
        pass


def rows(number: int, name: str = "q") -> Iterator[Row]:
    return (Row(f"{name}{i}", f"{name}{i}?", (), (), None, None, i) for i in range(number))


class Chain:
    """Asks each model in turn once a row."""

    def __init__(self, *models: Desk, waves: int = 1) -> None:
        self.models, self.waves = models, waves
        self.begun = self.under_way = self.most_under_way = 0

    def __call__(self, row: Row) -> Iterator[Wave]:
        self.begun += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        texts = []
        for wave in range(self.waves):
            for model in self.models:
                lead = float(len(row.id)) if wave and model is self.models[0] else None
                try:
                    [done] = yield Wave([Ask(model, Request(f"{row.id} {wave}", 0), Sampling())], lead)
                except CutShortError as cut:
                    return Drawn((), cut.reason)
                texts.append(done.text)
        assert texts[0] == f"{row.id} 0"
        self.under_way -= 1
        return Drawn(())


def free(*models: Desk) -> dict[Desk, Price]:
    return dict.fromkeys(models, FREE)


def ids(outcomes: Sequence[RowDone]) -> list[str]:
    return [done.item.id for done in outcomes]


def test_rows_come_out_in_order_whatever_finishes_first():
    small, large = Desk(4), Desk(4)
    outcomes = list(Flow(Chain(small, large), free(small, large)).run(rows(100)))

    assert ids(outcomes) == [f"q{i}" for i in range(100)]
    assert all(isinstance(outcome, Drawn) for _, outcome, _ in outcomes)


def test_both_models_are_kept_full_and_no_more_rows_are_under_way_than_need_be():
    small, large = Desk(8), Desk(4)
    chain = Chain(small, large)
    list(Flow(chain, free(small, large)).run(rows(1000)))
    assert chain.most_under_way <= 4 * 8
    assert small.most == 8
    assert 4 <= large.most <= 5


def test_rows_behind_a_slow_one_go_on_until_they_hold_too_much(monkeypatch: pytest.MonkeyPatch):
    """The desk answers the latest first, so that the first row is the last that it comes to."""
    assert begun_before_the_first_is_done() == 1000
    monkeypatch.setattr("lmcot_cli.pipeline.flow.MOST_BYTES", 100 * 2200)
    assert 90 <= begun_before_the_first_is_done() <= 110


def begun_before_the_first_is_done() -> int:
    desk = Desk(8, in_background=True)  # one that computes here has the first row alone
    chain = Chain(desk)
    next(Flow(chain, free(desk)).run(rows(1000)))
    return chain.begun


def test_a_model_that_works_in_the_background_does_not_keep_the_other_waiting():
    small, large = Desk(4), Desk(4, in_background=True)
    list(Flow(Chain(small, large), free(small, large)).run(rows(50)))

    assert (small.polls, large.polls) == (50, 50)


def test_what_is_no_row_passes_through_in_its_place_and_an_error_is_its_rows_alone():
    desk = Desk(2)
    items = [*rows(2), NO_ROW, *rows(1, "bad"), *rows(1, "last")]
    outcomes = list(Flow(Chain(desk), free(desk)).run(iter(items)))

    assert ids(outcomes) == ["q0", "q1", "no row", "bad0", "last0"]
    assert [type(outcome).__name__ for _, outcome, _ in outcomes] == [
        "Drawn", "Drawn", "NoneType", "RowError", "Drawn",
    ]  # fmt: skip


def test_one_by_one_resets_the_models_before_every_row():
    small, large = Desk(8), Desk(8)
    list(Flow(Chain(small, large), free(small, large), one_by_one=True).run(rows(5)))

    assert (small.most, large.most) == (1, 1)
    assert (small.resets, large.resets) == (5, 5)


class InTurn(Desk):
    """A model that finishes the request first that came first."""

    next = 0


def test_stopping_finishes_rows_with_a_reply_drops_the_others_and_begins_nothing():
    desk = InTurn(4)
    chain = Chain(desk, waves=3)
    flow = Flow(chain, free(desk))
    outcomes = flow.run(rows(1000))
    came = [next(outcomes) for _ in range(4)]
    told: list[Finishing] = []
    begun, polls = chain.begun, desk.polls
    under_way = flow.stop(60, told.append)
    came += list(outcomes)
    left = list(flow.left())
    finished = len(came) - 4 + len(left)

    assert under_way
    assert chain.begun == begun
    assert [one.within for one in told] == [60]
    assert finished - 1 <= told[0].rows <= finished  # one may have been done already
    assert len(desk.cancelled) == begun - len(came) - len(left) > 0
    assert all(prompt.endswith(" 0") for prompt in desk.cancelled)
    assert not desk.waiting
    assert desk.polls - polls <= 3 * finished
    assert ids(came) == [f"q{i}" for i in range(len(came))]
    assert not flow.is_complete


def test_stopping_at_once_drops_everything_and_those_behind_the_gap_can_be_taken():
    desk = Desk(4)
    flow = Flow(Chain(desk, waves=3), free(desk))
    outcomes = flow.run(rows(1000))
    came = [next(outcomes) for _ in range(8)]
    told: list[Finishing] = []
    polls = desk.polls
    flow.stop(0, told.append)
    came += list(outcomes)

    assert (told, desk.polls, desk.waiting) == ([], polls, [])
    assert ids(came) == [f"q{i}" for i in range(len(came))]
    assert all(isinstance(outcome, Drawn) for _, outcome, _ in flow.left())
    assert list(flow.left()) == []


def test_stopping_in_the_last_row_ends_a_run_that_is_complete():
    desk = Desk(4)
    flow = Flow(Chain(desk, waves=2), free(desk))
    outcomes = flow.run(rows(1))
    flow.stop(60)
    dropped = list(outcomes)
    desk = Desk(4)
    two = Flow(Chain(desk, waves=2), free(desk))
    outcomes = two.run(iter([*rows(1), NO_ROW]))
    came = [next(outcomes)]
    assert two.stop(60)
    came += list(outcomes)

    assert (dropped, flow.is_complete) == ([], False)
    assert (ids(came), two.is_complete) == (["q0", "no row"], True)


class Slow(InTurn):
    """A model that takes its time."""

    def poll(self, *, wait: bool = True) -> list[Reply]:
        if wait:
            sleep(0.05)
        return super().poll(wait=wait)


def test_rows_that_would_take_too_long_are_not_finished():
    desk = Slow(16)
    flow = Flow(Chain(desk, waves=2), free(desk))
    outcomes = flow.run(rows(1000))
    for _ in range(40):
        next(outcomes)
    told: list[Finishing] = []
    begun = monotonic()
    flow.stop(0.3, told.append)
    finished = len(list(outcomes)) + len(list(flow.left()))

    assert all(one.seconds is not None and one.seconds <= 0.3 for one in told)
    assert monotonic() - begun < 2
    assert finished <= 8


def test_the_first_row_has_a_model_of_its_own_and_the_next_ones_join_in_twos():
    desk = InTurn(8)
    chain = Chain(desk, waves=3)
    flow = Flow(chain, free(desk))
    seen = [(chain.begun, desk.polls) for _ in flow.run(rows(40))]

    assert seen[0] == (3, 3)  # the next two are handed in, and nothing was done for them
    assert all(begun <= 2 * done + 1 for done, (begun, _) in enumerate(seen, 1))
    assert desk.most == 8


def test_a_row_that_is_overdue_has_the_model_that_it_waits_for(monkeypatch: pytest.MonkeyPatch):
    small, large = InTurn(4), InTurn(4)
    monkeypatch.setattr("lmcot_cli.pipeline.flow.OVERDUE_SECONDS", -1.0)
    flow = Flow(Chain(small, large), free(small, large))
    for done, _ in enumerate(flow.run(rows(50)), 1):
        assert small.polls <= done + 8

    assert large.most < 4


def test_a_row_that_is_not_there_yet_does_not_hold_up_those_that_are():
    desk = Desk(4)
    finished: list[str] = []

    def slow() -> Iterator[Row]:
        for row in rows(5):
            yield row
            assert row.id in finished or not waiting[0]

    waiting = [True]
    flow = Flow(Chain(desk), free(desk), would_wait=lambda: waiting[0])
    for item, _, _ in flow.run(slow()):
        finished.append(item.id)

    assert finished == [f"q{i}" for i in range(5)]
    assert desk.most == 1


def test_extra_samples_go_where_the_vote_is_closest_and_every_row_keeps_its_share():
    desk = Desk(4)
    ticks = count()
    budget = Budget(max_tokens=60, rows=20, clock=lambda: float(next(ticks)))
    names = [*rows(10, "wide-lead"), *rows(10, "q")]
    outcomes = list(Flow(Chain(desk, waves=3), free(desk), budget=budget).run(iter(names)))
    cut = {item.id for item, drawn, _ in outcomes if isinstance(drawn, Drawn) and drawn.cut_short and item}

    assert all(isinstance(drawn, Drawn) for _, drawn, _ in outcomes)
    assert cut
    assert sum(name.startswith("q") for name in cut) < sum(name.startswith("wide") for name in cut)
    assert budget.tokens <= 60 + 2 * desk.window


def test_without_a_budget_nothing_is_cut_short():
    desk = Desk(4)
    outcomes = list(Flow(Chain(desk, waves=3), free(desk)).run(rows(30)))

    assert not any(isinstance(drawn, Drawn) and drawn.cut_short for _, drawn, _ in outcomes)


class Wide:
    """Asks for a wave of three requests and then for one more, which fails, and the first one too for a bad row."""

    def __init__(self, desk: Desk, later: Desk) -> None:
        self.desk, self.later = desk, later

    def __call__(self, row: Row) -> Iterator[Wave]:
        texts = (row.id, "a", "b")
        yield Wave([Ask(self.desk, Request(text, 0), Sampling()) for text in texts])
        yield Wave([Ask(self.later, Request(text, 0), Sampling()) for text in ("fine", "bad")])
        return Drawn(())


def test_what_a_failed_row_took_is_told():
    desk, later = Desk(4), Desk(4)
    flow = Flow(Wide(desk, later), free(desk, later))
    (_, second_wave, both), (_, first_wave, one) = flow.run(iter([*rows(1), *rows(1, "bad")]))

    assert isinstance(second_wave, RowError)
    assert isinstance(first_wave, RowError)
    assert both == {desk: TokenCounts(3, 3), later: TokenCounts(1, 1)}
    assert one == {desk: TokenCounts(2, 2)}
