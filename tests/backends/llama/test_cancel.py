"""Requests that are dropped, and batches that are abandoned in the middle, leave nothing behind."""

from collections.abc import Callable
from random import Random

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.abandon import AbandonSwitch
from lmcot_cli.backends.llama.backend import LlamaBackend

OpenTiny = Callable[..., LlamaBackend]
PLAIN = EngineOptions(threads=1, parallel=4, flash_attention=False)
SAMPLED = Sampling(temperature=0.9, top_p=0.95, max_tokens=24)
PROMPTS = [f"{'The rain fell on the roofs of the town. ' * 8}It was day {day}." for day in range(12)]


def finish(backend: LlamaBackend) -> dict[int, str]:
    found: dict[int, str] = {}
    while backend.pending:
        for ticket, reply in backend.poll():
            assert isinstance(reply, Completion)
            found[ticket] = reply.text
    return found


def texts(backend: LlamaBackend) -> dict[int, str]:
    done = backend.complete([Request(prompt, seed) for seed, prompt in enumerate(PROMPTS)], SAMPLED)
    return {place: one.text for place, one in enumerate(done) if isinstance(one, Completion)}


@pytest.mark.parametrize("seed", range(8))
def test_what_is_left_after_requests_were_dropped_is_written_as_without_them(
    open_tiny: OpenTiny, seed: int
) -> None:
    backend, random = open_tiny(PLAIN), Random(seed)
    wanted = texts(backend)
    backend.reset()
    for ticket, prompt in enumerate(PROMPTS):
        backend.submit(ticket, Request(prompt, ticket), SAMPLED)
    left, found = set(wanted), dict[int, str]()
    while backend.pending:
        for _ in range(random.randrange(6)):
            backend._scheduler.step()
        dropped = set(random.sample(sorted(left), min(2, len(left))))
        backend.cancel(dropped)
        left -= dropped
        arrived = {t: reply.text for t, reply in backend.poll() if isinstance(reply, Completion)}
        assert arrived.keys() <= left
        left -= arrived.keys()
        found |= arrived

    assert all(wanted[ticket] == text for ticket, text in found.items())
    backend.reset()
    assert backend._scheduler._cache._free_cells == backend._scheduler._context.cells
    assert texts(backend) == wanted


def test_dropping_everything_frees_everything(open_tiny: OpenTiny) -> None:
    backend = open_tiny(PLAIN)
    for ticket, prompt in enumerate(PROMPTS):
        backend.submit(ticket, Request(prompt, ticket), SAMPLED)
    backend._scheduler.step()
    backend.cancel(range(len(PROMPTS)))

    assert backend.pending == 0
    assert backend.poll() == []
    backend.reset()


def test_a_batch_that_is_abandoned_is_decoded_again(
    open_tiny: OpenTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_tiny(PLAIN)
    wanted = texts(backend)
    arm, abandoned = AbandonSwitch.arm, [0]

    def arm_and_press(switch: AbandonSwitch, *, armed: bool) -> None:
        arm(switch, armed=armed)
        if armed and abandoned[0] < 5:
            abandoned[0] += 1
            switch.press()

    monkeypatch.setattr(AbandonSwitch, "arm", arm_and_press)

    assert texts(backend) == wanted
    assert abandoned == [5]


def test_what_is_not_to_be_abandoned_is_not(open_tiny: OpenTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_tiny(PLAIN)
    switch = backend._scheduler._context._switch
    switch.arm(armed=False)
    switch.press()

    assert switch._byte.raw == b"\0\0"
