from collections.abc import Collection

from lmcot_cli.backends.base import (
    Backend,
    Completion,
    Reply,
    Request,
    Sampling,
)

GREEDY = Sampling()


def _echo(request: Request) -> Completion:
    return Completion(request.prompt.upper(), 1, 1, "stop", None)


class LastComesFirst(Backend):
    window = 1

    def __init__(self) -> None:
        self.handed_in: list[tuple[int, Request]] = []

    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        self.handed_in.append((ticket, request))

    def poll(self, *, wait: bool = True) -> list[Reply]:
        ticket, request = self.handed_in.pop()
        return [(ticket, _echo(request))]

    @property
    def pending(self) -> int:
        return len(self.handed_in)

    def cancel(self, tickets: Collection[int]) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


def test_complete_puts_replies_back_into_the_order_of_the_requests() -> None:
    completions = LastComesFirst().complete([Request(prompt, 0) for prompt in "abc"], GREEDY)
    assert [done.text for done in completions if isinstance(done, Completion)] == ["A", "B", "C"]
