"""Whatever a model's memory is made of, a prompt after others gives what it gives alone.

Pairs of prompts go through engines of several widths that never forget by themselves, in caches so small that prompts
are evicted all the time; every row of logits is compared with that of the same tokens in an empty memory. CI tries a
few pairs of each family; LMCOT_PAIRS=1000 tries a thousand (ten families, one to four minutes each).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama import backend as backend_module
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.llama.context import LlamaContext
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.backends.sampling import Logits

PAIRS = int(os.environ.get("LMCOT_PAIRS", "12"))
ENGINES = [
    EngineOptions(threads=1, parallel=width, flash_attention=flash)
    for width, flash in ((1, False), (2, True), (3, False), (7, True))
]
CONTEXT = 160
LONGEST = 130

FAMILIES = {
    "attention": ["llama"],
    "window": ["gemma3"],
    "recurrent": ["mamba", "mamba2"],
    "hybrid": ["jamba", "lfm2", "lfm2-window", "granite-h", "falcon-h1", "qwen3next"],
}
"""By kind of memory."""

EVERY_FAMILY = [family for families in FAMILIES.values() for family in families]

RECENT = 6
"""Prompts before it that one may begin like; those in between come and go."""

ROUNDING = {False: 0.05, True: 0.4}
"""How much logits may differ, whose standard deviation is 3, so that greedy tokens are equal but for ties as near.

Keys and values are float16, and batches of different shapes round differently: by 0.014 at most in 7,000 rows,
by 0.15 with flash attention. What another prompt leaves behind shows as whole units."""

TinyFamily = Callable[..., Path]


class Watched(LlamaContext):
    """A context that knows which tokens each sequence should hold, and notes what they gave."""

    opened: list[Watched] = []  # noqa: RUF012 (emptied by the fixture)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held: dict[int, list[int]] = defaultdict(list)
        self.seen: list[tuple[tuple[int, ...], Logits]] = []
        self.opened.append(self)

    def clear(self) -> None:
        super().clear()
        self.held.clear()

    def share(self, source: int, target: int, length: int) -> None:
        super().share(source, target, length)
        assert not self.held[target]
        assert len(self.held[source]) >= length
        self.held[target] = self.held[source][:length]

    def drop(self, sequence: int, kept: int = 0) -> None:
        super().drop(sequence, kept)
        del self.held[sequence][kept:]

    def decode(self, *, abandonable: bool = False) -> Logits:
        batch, count = self.batch, len(self.batch)
        asking = []
        for token, position, sequence, asks in zip(
            batch._tokens[:count].tolist(),
            batch._positions[:count].tolist(),
            batch._sequences[:count].tolist(),
            batch._wants_logits[:count].tolist(),
            strict=True,
        ):
            assert position == len(self.held[sequence])
            self.held[sequence].append(token)
            if asks:
                asking.append(tuple(self.held[sequence]))
        logits = super().decode()
        self.seen += zip(asking, logits.copy(), strict=True)
        return logits


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Watched]]:
    """Let backends that are opened use `Watched` contexts."""
    Watched.opened.clear()
    monkeypatch.setattr(backend_module, "LlamaContext", Watched)
    yield Watched.opened
    Watched.opened.clear()


class Alone:
    """What tokens give in a memory that holds nothing else."""

    def __init__(self, path: Path, flash_attention: bool) -> None:
        self._model = LlamaModel(path)
        self._context = LlamaContext(
            self._model,
            LlamaVocabulary(self._model).size,
            EngineOptions(threads=1, flash_attention=flash_attention),
            parallel=1,
        )

    def logits(self, tokens: tuple[int, ...]) -> Logits:
        self._context.clear()
        self._context.batch.add_run(np.array(tokens, np.int32), 0, 0, last_logits=True)
        return self._context.decode()[0].copy()

    def close(self) -> None:
        self._context.close()
        self._model.close()


def text(random: Random, length: int) -> str:
    return "".join(random.choice("bcdfgjklm ") for _ in range(length))


def beginning_like(random: Random, other: str) -> str:
    """Make a prompt that begins like another one for any length: not at all, or with all of it, or is equal."""
    shared = random.choice([0, len(other), random.randint(0, len(other)), random.randint(0, len(other))])
    longer = random.randint(0, LONGEST - shared)
    return other[:shared] + text(random, random.choice([0, min(1, longer), longer]))


def finish(backend: LlamaBackend) -> None:
    while backend.pending:
        backend.poll()


def ask(backend: LlamaBackend, prompt: str, ticket: int, random: Random) -> None:
    """Ask for a prompt once or several times, and work on it for a while, or until nothing is pending."""
    sampling = Sampling(max_tokens=random.randint(1, 12))
    for copy in range(random.choice([1, 1, 2, 4])):
        backend.submit(10 * ticket + copy, Request(prompt, copy), sampling)
    for _ in range(random.choice([0, 1, 2, 1000])):
        if backend.pending:
            assert all(isinstance(reply, Completion) for _, reply in backend.poll())


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_a_prompt_after_any_other_in_any_width_gives_what_it_gives_alone(
    tiny_family: TinyFamily, watched: list[Watched], family: str
) -> None:
    path, random = tiny_family(family, CONTEXT), Random(family)
    with ExitStack() as opened:
        alone = {flash: opened.enter_context(closing(Alone(path, flash))) for flash in ROUNDING}
        backends = [opened.enter_context(LlamaBackend(path, options)) for options in ENGINES]
        recent = [[text(random, 100)] for _ in backends]
        for number in range(PAIRS + len(backends)):
            place = number % len(backends)
            recent[place].append(beginning_like(random, random.choice(recent[place][-RECENT:])))
            ask(backends[place], recent[place][-1], number, random)
            flash = ENGINES[place].flash_attention
            compare(watched[place], alone[flash], ROUNDING[flash])


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_a_call_gives_the_same_bytes_after_any_other(tiny_family: TinyFamily, family: str) -> None:
    # What --deterministic promises: there each row is a call of its own.
    path, random = tiny_family(family, CONTEXT), Random(family)
    options = EngineOptions(threads=1, parallel=3)
    with LlamaBackend(path, options) as used:
        prompts = [text(random, 100)]
        for _ in range(PAIRS):
            prompts.append(beginning_like(random, random.choice(prompts[-RECENT:])))
            requests = [Request(prompts[-1], seed) for seed in range(random.choice([1, 2, 5]))]
            sampling = Sampling(temperature=random.choice([0.0, 0.9]), max_tokens=random.randint(1, 12))
            with LlamaBackend(path, options) as fresh:
                expected = fresh.complete(requests, sampling)
            assert used.complete(requests, sampling) == expected
            ask(used, beginning_like(random, prompts[-1]), 0, random)
            finish(used)


@pytest.mark.parametrize("family", ["mamba2", "granite-h"])
def test_what_prompts_have_in_common_is_decoded_twice_where_only_whole_prompts_can_be_shared(
    tiny_family: TinyFamily, family: str
) -> None:
    common = text(Random(1), 100)
    with LlamaBackend(tiny_family(family, CONTEXT), EngineOptions(threads=1, parallel=3)) as backend:
        requests = [Request(common + letter * 8, seed) for letter in "bcdfg" for seed in range(2)]
        replies = backend.complete(requests, Sampling(max_tokens=4))
        whole = sum(reply.prompt_tokens for reply in replies if isinstance(reply, Completion)) // 2
        saved = whole - backend.work.prompt_tokens
    assert 3 * len(common) <= saved <= 3 * (len(common) + 2)


def compare(context: Watched, alone: Alone, rounding: float) -> None:
    expected = {tokens: alone.logits(tokens) for tokens in {tokens for tokens, _ in context.seen}}
    for tokens, logits in context.seen:
        difference = float(np.abs(logits - expected[tokens]).max())
        assert difference < rounding, f"{difference} after {len(tokens)} tokens"
    context.seen.clear()
