from collections.abc import Sequence

from lmcot_cli.backends.base import (
    BatchBackend,
    Completion,
    Reply,
    Request,
    RowError,
    Sampling,
    StreamBackend,
)

GREEDY = Sampling()
WARM = Sampling(temperature=1.0)


def _echo(request: Request) -> Completion:
    return Completion(request.prompt.upper(), 1, 1, "stop", None)


class Batches(BatchBackend):
    def __init__(self, window: int) -> None:
        super().__init__(window)
        self.calls: list[tuple[list[str], Sampling]] = []

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        self.calls.append(([request.prompt for request in requests], sampling))
        return [_echo(request) for request in requests]

    def close(self) -> None:
        pass


class LastComesFirst(StreamBackend):
    def __init__(self) -> None:
        self.handed_in: list[tuple[int, Request]] = []

    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        self.handed_in.append((ticket, request))

    def poll(self, *, wait: bool = True) -> list[Reply]:
        ticket, request = self.handed_in.pop()
        return [(ticket, _echo(request))]

    def close(self) -> None:
        pass


def test_a_batch_holds_no_more_than_the_window() -> None:
    backend = Batches(window=2)
    for ticket in range(3):
        backend.submit(ticket, Request(f"p{ticket}", 0), GREEDY)
    assert [ticket for ticket, _ in backend.poll()] == [0, 1]
    assert backend.pending == 1
    assert [ticket for ticket, _ in backend.poll()] == [2]
    assert backend.poll() == []


def test_requests_that_are_sampled_otherwise_wait_for_a_batch_of_their_own() -> None:
    backend = Batches(window=8)
    for ticket, sampling in enumerate((GREEDY, WARM, GREEDY)):
        backend.submit(ticket, Request(f"p{ticket}", 0), sampling)
    assert [ticket for ticket, _ in backend.poll()] == [0, 2]
    assert [ticket for ticket, _ in backend.poll()] == [1]
    assert backend.calls == [(["p0", "p2"], GREEDY), (["p1"], WARM)]


def test_a_batch_backend_computes_nothing_when_nobody_waits() -> None:
    backend = Batches(window=8)
    backend.submit(7, Request("a", 0), GREEDY)
    assert backend.poll(wait=False) == []
    assert backend.calls == []
    assert backend.pending == 1


def test_complete_puts_replies_back_into_the_order_of_the_requests() -> None:
    completions = LastComesFirst().complete([Request(prompt, 0) for prompt in "abc"], GREEDY)
    assert [done.text for done in completions if isinstance(done, Completion)] == ["A", "B", "C"]
