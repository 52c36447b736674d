"""The prefix cache against a KV cache that only keeps account of who holds which cell."""

from __future__ import annotations

from random import Random
from typing import cast, get_args

import numpy as np
import pytest

from lmcot_cli.backends.llama.context import SPARE_SEQUENCES, LlamaContext, TokenBatch
from lmcot_cli.backends.llama.memory_shape import MemoryKind
from lmcot_cli.backends.llama.prefixes import WORTH_MARKING, WORTH_SHARING, KvPrompt, PrefixCache
from lmcot_cli.backends.vocabulary import TokenIds


class Cells:
    """What a KV cache does with cells: one is in use as long as any sequence holds it."""

    def __init__(
        self, cells: int, sequences: int, *, shares_parts: bool = True, guards: bool = False
    ) -> None:
        self.cells, self.sequences, self.shares_parts, self.guards = cells, sequences, shares_parts, guards
        self.guard_of: dict[int, int] = {}
        self.held: dict[int, list[object]] = {sequence: [] for sequence in range(sequences)}

    def share(self, source: int, target: int, length: int) -> None:
        assert self.held[target] == []
        assert len(self.held[source]) >= length
        assert self.shares_parts or len(self.held[source]) == length
        self.held[target] = self.held[source][:length]

    def guard(self, sequence: int, guard: int) -> None:
        assert self.held[guard] == []
        self.guard_of[sequence] = guard

    def drop(self, sequence: int, kept: int = 0) -> None:
        assert self.shares_parts or not kept
        if (guard := self.guard_of.get(sequence)) is not None:
            begin = len(self.held[sequence]) - len(self.held[guard])
            del self.held[guard][max(kept - begin, 0) :]
        if not kept:
            self.guard_of.pop(sequence, None)
        del self.held[sequence][kept:]

    def clear(self) -> None:
        assert all(held == [] for held in self.held.values())

    def write(self, sequence: int, count: int) -> None:
        cells = [object() for _ in range(count)]
        self.held[sequence] += cells
        if (guard := self.guard_of.get(sequence)) is not None:
            self.held[guard] += cells
        assert len({cell for held in self.held.values() for cell in held}) <= self.cells


def new_cache(
    cells: int = 200, parallel: int = 4, kind: MemoryKind = "attention", states: int | None = None
) -> tuple[PrefixCache, Cells]:
    context = Cells(
        cells,
        states or 3 * parallel + 2 * SPARE_SEQUENCES,
        shares_parts=kind in ("attention", "window"),
        guards=kind == "window",
    )
    return PrefixCache(cast("LlamaContext", context)), context


def prompt_of(*runs: tuple[int, int]) -> TokenIds:
    """Join runs of (token, length)."""
    return np.array([token for token, length in runs for _ in range(length)], np.int32)


class Batch:
    """A batch that is filled, and then computed or not."""

    def __init__(self, context: Cells, room: int) -> None:
        self.context, self.room = context, room
        self.runs: list[tuple[int, int, int]] = []

    def add_run(self, tokens: TokenIds, start: int, sequence: int, *, last_logits: bool) -> None:
        self.room -= len(tokens)
        self.runs.append((sequence, start, len(tokens)))

    def compute(self) -> int:
        """Write what the batch holds, and return how many tokens that are."""
        for sequence, start, count in self.runs:
            assert start == len(self.context.held[sequence])
            self.context.write(sequence, count)
        return sum(count for _, _, count in self.runs)


def read(cache: PrefixCache, context: Cells, room: int) -> int:
    """Decode one batch of prompts; return how many tokens it held."""
    batch = Batch(context, room)
    for each in cache.fill(cast("TokenBatch", batch)):
        each.logits = np.zeros(1, np.float32)
    return batch.compute()


def decode(cache: PrefixCache, context: Cells, prompt: KvPrompt, room: int = 1000) -> int:
    """Decode prompts, in batches of `room` tokens, until this one is; return how many tokens that are."""
    assert (prompt.logits is None) == (prompt in cache._unread)
    decoded = 0
    while prompt.unread:
        count = read(cache, context, room)
        assert count
        decoded += count
    return decoded


def finish(cache: PrefixCache, context: Cells, tokens: TokenIds, room: int = 10) -> int:
    """Write one completion of these tokens; return how many of them had to be decoded."""
    taken = cache.take(tokens, room)
    assert taken
    prompt, sequence = taken
    own = decode(cache, context, prompt)
    context.share(prompt.sequence, sequence, len(tokens))
    context.write(sequence, room)
    cache.give_back(prompt, sequence, room)
    return own


def test_equal_prompts_are_decoded_once_whenever_they_come() -> None:
    cache, context = new_cache()
    tokens = prompt_of((1, 50))
    assert [finish(cache, context, tokens) for _ in range(3)] == [50, 0, 0]


def test_a_common_beginning_is_decoded_once_and_survives_what_it_came_with() -> None:
    cache, context = new_cache(cells=130)
    assert finish(cache, context, prompt_of((1, 40), (2, 60))) == 100
    # Each next row needs the room of the one before; the 40 tokens that all begin with stay.
    assert [finish(cache, context, prompt_of((1, 40), (row, 60))) for row in (3, 4, 5)] == [60, 60, 60]
    assert finish(cache, context, prompt_of((1, 40), (2, 60))) == 60


def test_a_prompt_that_ends_inside_another_decodes_its_last_token() -> None:
    cache, context = new_cache()
    finish(cache, context, prompt_of((1, 50)))
    assert finish(cache, context, prompt_of((1, 30))) == 1


def test_a_short_common_beginning_is_not_waited_for() -> None:
    cache, context = new_cache()
    finish(cache, context, prompt_of((1, WORTH_SHARING - 1), (2, 20)))
    assert finish(cache, context, prompt_of((1, WORTH_SHARING - 1), (3, 20))) == WORTH_SHARING + 19


def test_a_prompt_begins_when_what_it_stands_on_is_decoded() -> None:
    cache, context = new_cache()
    (first, _), (second, _) = (
        cache.take(prompt_of((1, 30), (row, 20)), 5) or pytest.fail() for row in (2, 3)
    )
    assert not cache._begin(second)
    context.write(first.sequence, 30)
    first.decoded = 30  # not yet to its end
    assert cache._begin(second)
    assert second.decoded == 30


def test_the_least_recently_used_prompt_goes_first() -> None:
    cache, context = new_cache(cells=1000)
    rows = [prompt_of((row, 90)) for row in range(1, 11)]
    working = cache.take(prompt_of((99, 400)), 10)  # leaves room for the others, and lets some lie idle
    assert working
    for row in rows[:5]:
        finish(cache, context, row)
    finish(cache, context, rows[0])
    for row in rows[5:7]:
        finish(cache, context, row)
    assert finish(cache, context, rows[0]) == 0
    assert finish(cache, context, rows[1]) == 90


def test_where_parts_cannot_be_shared_a_prompt_stands_on_whole_ones_only() -> None:
    cache, context = new_cache(cells=1000, kind="hybrid")
    assert cache.take(prompt_of((99, 400)), 10)  # as long as it is at work, others may lie idle
    cache._unread.clear()
    assert finish(cache, context, prompt_of((1, 50))) == 50
    assert finish(cache, context, prompt_of((1, 25), (2, 20))) == 45
    assert finish(cache, context, prompt_of((1, 30))) == 30
    assert finish(cache, context, prompt_of((1, 50), (2, 20))) == 20
    assert finish(cache, context, prompt_of((1, 50))) == 0


def test_what_two_prompts_have_in_common_is_there_for_the_third_as_a_whole() -> None:
    cache, context = new_cache(cells=1000, kind="hybrid")
    assert cache.take(prompt_of((99, 400)), 10)
    cache._unread.clear()
    instructions = (1, WORTH_MARKING)
    assert finish(cache, context, prompt_of(instructions, (2, 60))) == WORTH_MARKING + 60
    assert finish(cache, context, prompt_of(instructions, (3, 60), (4, 5))) == WORTH_MARKING + 65
    assert finish(cache, context, prompt_of(instructions, (3, 60), (5, 5))) == 65
    assert finish(cache, context, prompt_of(instructions, (3, 60), (6, 5))) == 5
    assert finish(cache, context, prompt_of(instructions, (7, 60))) == 60


def test_with_states_for_two_sequences_prompts_follow_one_another() -> None:
    cache, context = new_cache(kind="recurrent", states=2)
    assert finish(cache, context, prompt_of((1, 50))) == 50
    assert finish(cache, context, prompt_of((1, 50), (2, 20))) == 70
    assert finish(cache, context, prompt_of((1, 50), (2, 20))) == 0
    taken = cache.take(prompt_of((1, 9)), 10)
    assert taken
    assert cache.take(prompt_of((1, 9)), 10) is None
    cache.give_back(*taken, 10)
    assert cache.take(prompt_of((1, 9)), 10)


@pytest.mark.parametrize("kind", get_args(MemoryKind))
@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_prompts_fits_and_decodes_no_more_than_itself(seed: int, kind: MemoryKind) -> None:
    # `Cells` counts what is really in use: it never exceeds the cache, and one prompt always finds room.
    random = Random(seed)
    parallel = random.choice([1, 2, 5])
    cache, context = new_cache(cells=120, parallel=parallel, kind=kind)
    prompts = [prompt_of((0, 1))]
    while len(prompts) < 40:
        parent = random.choice(prompts).tolist()
        longer = parent + [random.choice([1, 2, 3])] * random.choice([1, 5, 17, 30])
        if len(longer) <= 100:
            prompts.append(np.array(longer, np.int32))
    at_work: list[tuple[KvPrompt, int, int]] = []
    for _ in range(400):
        tokens, room = random.choice(prompts), random.randint(1, 20)
        taken = cache.take(tokens, room) if len(at_work) < parallel else None
        if taken:
            prompt, sequence = taken
            assert decode(cache, context, prompt, random.choice([7, 1000])) <= len(tokens)
            context.share(prompt.sequence, sequence, len(tokens))
            context.write(sequence, room)
            at_work.append((prompt, sequence, room))
        else:
            assert at_work  # alone, any prompt finds room
            cache.give_back(*at_work.pop(random.randrange(len(at_work))))
    for each in at_work:
        cache.give_back(*each)
    cache.clear()


def test_what_a_batch_that_was_not_computed_held_is_read_again() -> None:
    cache, context = new_cache()
    (first, _), (second, _) = (
        cache.take(prompt_of((1, 30), (row, 20)), 5) or pytest.fail() for row in (2, 3)
    )
    for room in (10, 30, 25):
        before = (first.decoded, second.decoded)
        cache.fill(cast("TokenBatch", Batch(context, room)))
        cache.take_back()
        assert (first.decoded, second.decoded) == (
            before[0],
            max(before[1], len(context.held[second.sequence])),
        )
        assert read(cache, context, room) > 0
    assert second.decoded == 45


def test_a_prompt_that_nothing_needs_any_more_is_not_read() -> None:
    cache, context = new_cache()
    (first, sequence), (second, other) = (
        cache.take(prompt_of((1, 30), (row, 20)), 5) or pytest.fail() for row in (2, 3)
    )
    cache.give_back(first, sequence, 5)
    cache.drop_unread()
    assert cache.unread_tokens == 50 + 50  # the second stands on it
    cache.give_back(second, other, 5)
    cache.drop_unread()
    assert cache.unread_tokens == 0
    assert cache._free_cells == context.cells


def test_a_prompt_that_is_evicted_in_part_before_it_is_read_is_read_as_far_as_others_need_it() -> None:
    cache, context = new_cache(cells=130)
    first, sequence = cache.take(prompt_of((1, 30), (2, 60)), 5) or pytest.fail()
    read(cache, context, 10)
    second, _ = cache.take(prompt_of((1, 30), (3, 20)), 5) or pytest.fail()
    cache.give_back(first, sequence, 5)
    assert cache.take(prompt_of((9, 40)), 5)
    assert (len(first.tokens), first.decoded) == (30, 10)
    assert decode(cache, context, second) == 20 + 20 + 40
