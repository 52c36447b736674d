from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Completion, Request, RowError, Sampling
from lmcot_cli.backends.scripted import ScriptedBackend
from lmcot_cli.errors import ModelError

Script = Callable[..., ScriptedBackend]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def write(*lines: str) -> ScriptedBackend:
        path = tmp_path / "replies.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        return ScriptedBackend(path)

    return write


def ask(backend: ScriptedBackend, *prompts: str, seed: int = 0) -> list[Completion]:
    results = backend.complete([Request(prompt, seed) for prompt in prompts], Sampling())
    return [result for result in results if isinstance(result, Completion)]


def test_replies_come_in_order_over_several_calls(script: Script) -> None:
    backend = script('"one"', '{"text": "two, cut", "finish_reason": "length", "logprob": -0.5}', '"é"')
    assert [reply.text for reply in ask(backend, "a", "b")] + [ask(backend, "c")[0].text] == [
        "one",
        "two, cut",
        "é",
    ]


def test_a_reply_carries_what_its_line_says(script: Script) -> None:
    reply = ask(script('{"text": "two, cut", "finish_reason": "length", "logprob": -0.5}'), "a b c")[0]
    assert reply == Completion("two, cut", 3, 2, "length", -0.5)


def test_a_matching_line_answers_again_and_again_and_uses_nothing_up(script: Script) -> None:
    backend = script('"in order"', '{"match": "Paris", "text": "France"}', '{"match": "P", "text": "a P"}')
    replies = ask(backend, "Where is Paris?", "Where is Pisa?", "Paris", "Rome")
    assert [reply.text for reply in replies] == ["France", "a P", "France", "in order"]


def test_the_seed_picks_one_of_several_texts(script: Script) -> None:
    backend = script('{"match": "", "text": ["a", "b", "c"]}')
    assert [ask(backend, "x", seed=seed)[0].text for seed in (0, 1, 2, 3, 7)] == ["a", "b", "c", "a", "b"]


def test_it_raises_when_it_runs_out(script: Script) -> None:
    backend = script('"only one"')
    with pytest.raises(
        ModelError, match=r"replies\.jsonl: no reply is left for a prompt that ends in 'second'"
    ):
        ask(backend, "first", "second")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("plain text", "Invalid JSON"),
        ("", "Invalid JSON"),
        ("[1]", "object"),
        ("3", "object"),
        ('{"text": 3}', "text"),
        ('{"text": []}', "text"),
        ('{"match": "a"}', "text"),
        ('{"text": "a", "mach": "b"}', "mach"),
        ('{"text": "a", "finish_reason": "tired"}', "finish_reason"),
        ('{"text": "a", "seconds": -1}', "seconds"),
    ],
)
def test_a_line_of_another_form_is_named(script: Script, line: str, reason: str) -> None:
    with pytest.raises(ModelError, match=rf"replies\.jsonl:2: not a reply; .*{reason}"):
        script('"fine"', line, '"fine"')


def test_a_reply_takes_its_time(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    script('{"text": "a", "seconds": 0.25}', '"b"').complete([Request("?", 0)] * 2, Sampling())
    assert sum(slept) == 0.25


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nope\.jsonl: the script cannot be read"):
        ScriptedBackend(tmp_path / "nope.jsonl")


def test_identity_follows_the_content(script: Script) -> None:
    first, second = script('"one"').identity, script('"two"').identity
    assert first.digest != second.digest
    assert first.spec == second.spec


def test_a_reply_that_takes_long_holds_a_poll_up_no_longer_than_others_and_can_be_dropped(
    script: Script,
) -> None:
    backend = script('{"match": "slow", "text": "a", "seconds": 30}', '{"match": "quick", "text": "b"}')
    backend.submit(0, Request("slow", 0), Sampling())
    backend.submit(1, Request("quick", 0), Sampling())
    begun = time.monotonic()

    assert backend.poll() == []
    backend.cancel({0})
    assert [ticket for ticket, _ in backend.poll()] == [1]
    assert (backend.pending, time.monotonic() - begun < 5) == (0, True)


GREEDY, WARM = Sampling(), Sampling(temperature=1.0)


class Batches(ScriptedBackend):
    """Replies at once, and remembers which requests it was asked for together."""

    def __init__(self, folder: Path, window: int) -> None:
        (folder / "script").write_text('{"match": "", "text": "a"}')
        super().__init__(folder / "script")
        self.window, self.calls = window, list[tuple[list[str], Sampling]]()

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        self.calls.append(([request.prompt for request in requests], sampling))
        return super().complete(requests, sampling)


def test_a_batch_holds_no_more_than_the_window(tmp_path: Path) -> None:
    backend = Batches(tmp_path, window=2)
    for ticket in range(3):
        backend.submit(ticket, Request(f"p{ticket}", 0), GREEDY)
    assert [ticket for ticket, _ in backend.poll()] == [0, 1]
    assert backend.pending == 1
    assert [ticket for ticket, _ in backend.poll()] == [2]
    assert backend.poll() == []


def test_requests_that_are_sampled_otherwise_wait_for_a_batch_of_their_own(tmp_path: Path) -> None:
    backend = Batches(tmp_path, window=8)
    for ticket, sampling in enumerate((GREEDY, WARM, GREEDY)):
        backend.submit(ticket, Request(f"p{ticket}", 0), sampling)
    assert [ticket for ticket, _ in backend.poll()] == [0, 2]
    assert [ticket for ticket, _ in backend.poll()] == [1]
    assert backend.calls == [(["p0", "p2"], GREEDY), (["p1"], WARM)]


def test_nothing_is_computed_when_nobody_waits(tmp_path: Path) -> None:
    backend = Batches(tmp_path, window=8)
    backend.submit(7, Request("a", 0), GREEDY)
    assert backend.poll(wait=False) == []
    assert backend.calls == []
    assert backend.pending == 1
