"""The prompts whose tokens are in the KV cache, and the account of its cells.

A new prompt finds the one with which it has its longest beginning in common and stands on it: it takes those
cells over, and only its rest is decoded. What a recurrent layer keeps of a prompt is that of its end, so there a
prompt stands on whole ones only, and what two prompts have in common is decoded as a prompt of its own, for those that
come after them. So the instructions common to all rows, a row's question, and equal
prompts (the samples of a row) are decoded once, whenever they come. What nobody uses any more stays until its
room is needed, least recently used first; of a prompt that others stand on, the part they stand on stays.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

import numpy as np

from lmcot_cli.backends.llama.context import SPARE_SEQUENCES, LlamaContext, Logits, TokenIds

WORTH_SHARING = 16
"""Tokens to save before a prompt stands on another, for whose decoding it may have to wait."""

WORTH_MARKING = 32
"""Tokens that have to be common for that, besides those that a whole prompt saves: it takes a state."""

MAX_DEPTH = SPARE_SEQUENCES - 1
"""Prompts that stand on one another: one more and its completion have to find free sequences above them."""


MAX_IDLE = 0.5
"""Cells of prompts that nobody uses, next to those at work. Measured (135M shape, 16 sequences): 2,048 idle
cells, 1.3 times those at work, make a step 12% longer; a row that comes back saves its whole prompt."""


@dataclass(eq=False, slots=True)
class KvPrompt:
    """A prompt in the KV cache, or on its way into it.

    Attributes:
        tokens: Its ids, [length]; once evicted in part, those that others stand on.
        sequence: Its sequence in the KV cache.
        guard: A second one that holds the same, where the KV cache needs it.
        parent: The prompt it stands on.
        shared: How many of its first tokens lie in cells of `parent`, or of what that stands on.
        decoded: How many of its first tokens its sequence holds.
        completions: How many completions at work begin with it.
        children: What stands on it.
        logits: Those after its last token, [vocabulary], as soon as it is decoded.
    """

    tokens: TokenIds
    sequence: int
    guard: int | None
    parent: KvPrompt | None
    shared: int
    decoded: int = 0
    completions: int = 0
    children: set[KvPrompt] = field(default_factory=set)
    logits: Logits | None = None

    @property
    def own_cells(self) -> int:
        """Cells that it brought into use."""
        return len(self.tokens) - self.shared

    @property
    def depth(self) -> int:
        """How many prompts it stands on, those below them included."""
        return self.parent.depth + 1 if self.parent else 0


class PrefixCache:
    """All prompts in a KV cache, and the cells and sequences that are free.

    Args:
        context: The KV cache. Nothing else takes cells of it.
    """

    def __init__(self, context: LlamaContext) -> None:
        self._context = context
        self._prompts: dict[KvPrompt, None] = {}  # least recently used first
        self._whole: dict[bytes, KvPrompt] = {}  # by their tokens; those evicted in part are not here
        self._added: list[KvPrompt] = []
        self._free_cells = context.cells
        self._free_sequences = list(range(context.sequences))
        self._sequences_each = 2 if context.guards else 1
        # What a new prompt and its completion take has to be there besides those of what the prompt stands on.
        self._max_depth = min(MAX_DEPTH, (context.sequences - 1) // self._sequences_each - 1)

    def take(self, tokens: TokenIds, room: int) -> tuple[KvPrompt, int] | None:
        """Find a place for a completion of `room` tokens at most, behind the prompt of these tokens.

        Returns:
            The prompt, to be decoded if it is among those `added`, and the sequence of the completion; None if
            there is no room as long as what is at work is not done. There is always room for one.
        """
        prompt = self._whole.get(tokens.tobytes())
        base, shared = (prompt, len(tokens)) if prompt else self._closest(tokens)
        mark = 0 if prompt else self._mark(tokens, base, shared)
        sequences = 1 if prompt else 1 + self._sequences_each * (2 if mark else 1)
        if not self._make_room(
            cells=len(tokens) - shared + room, sequences=sequences, base=base, shared=shared
        ):
            return None
        if not prompt:
            self._limit_idle(base, shared)
            if mark:
                base, shared = self._add(tokens[:mark], base, shared), mark
            prompt = self._add(tokens, base, shared)
        prompt.completions += 1
        self._touch(prompt)
        self._free_cells -= room
        return prompt, self._free_sequences.pop(0)

    def added(self) -> list[KvPrompt]:
        """Return the prompts to decode that have come since the last call, each after what it stands on."""
        added, self._added = self._added, []
        return added

    def give_back(self, prompt: KvPrompt, sequence: int, room: int) -> None:
        """Free what a completion took; its prompt stays in the cache."""
        self._context.drop(sequence)
        insort(self._free_sequences, sequence)
        self._free_cells += room
        prompt.completions -= 1

    def abandon(self, prompt: KvPrompt) -> bool:
        """Forget a prompt that is not decoded, unless something begins with it; whether it is forgotten."""
        if prompt.completions or prompt.children:
            return False
        self._evict(prompt, 0)
        return True

    def begin(self, prompt: KvPrompt) -> bool:
        """Let a prompt begin with what it shares, if that is decoded; whether it has begun."""
        if prompt.decoded < prompt.shared and prompt.parent and prompt.parent.decoded >= prompt.shared:
            self._context.share(prompt.parent.sequence, prompt.sequence, prompt.shared)
            prompt.decoded = prompt.shared
        return prompt.decoded >= prompt.shared

    def clear(self) -> None:
        """Forget all prompts; no completion may be at work."""
        while self._prompts:
            self._evict(next(prompt for prompt in self._prompts if not prompt.children), 0)
        self._context.clear()

    def _closest(self, tokens: TokenIds) -> tuple[KvPrompt | None, int]:
        """Find the prompt to stand on, and with how many tokens."""
        best: KvPrompt | None = None
        shared = WORTH_SHARING - 1
        for prompt in self._prompts:
            if len(prompt.tokens) > shared and (common := self._shareable(tokens, prompt)) > shared:
                best, shared = prompt, common
        shared = min(shared, len(tokens) - 1)  # what comes after the last token has to be computed
        while best and (shared <= best.shared or best.depth >= self._max_depth):
            shared = min(shared, best.shared)
            best = best.parent
        return (best, shared) if best else (None, 0)

    def _shareable(self, tokens: TokenIds, prompt: KvPrompt) -> int:
        """Return with how many of these tokens one could stand on a prompt."""
        common = _common_length(tokens, prompt.tokens)
        return common if self._context.shares_parts or common == len(prompt.tokens) else 0

    def _mark(self, tokens: TokenIds, base: KvPrompt | None, shared: int) -> int:
        """Return how many of these tokens to decode as a prompt of their own: 0 if they are not worth it."""
        if self._context.shares_parts or (base.depth + 1 if base else 0) >= self._max_depth:
            return 0
        common = max((_common_length(tokens, prompt.tokens) for prompt in self._prompts), default=0)
        common = min(common, len(tokens) - 1)
        return common if common - shared >= WORTH_MARKING else 0

    def _add(self, tokens: TokenIds, parent: KvPrompt | None, shared: int) -> KvPrompt:
        sequence = self._free_sequences.pop()
        guard = self._free_sequences.pop() if self._context.guards else None
        if guard is not None:
            self._context.guard(sequence, guard)
        prompt = KvPrompt(tokens, sequence, guard, parent, shared)
        self._free_cells -= prompt.own_cells
        self._whole[tokens.tobytes()] = prompt
        if parent:
            parent.children.add(prompt)
        self._added.append(prompt)
        return prompt

    def _touch(self, prompt: KvPrompt | None) -> None:
        """Note that a prompt, and with it what it stands on, is used now."""
        path = []
        while prompt:
            path.append(prompt)
            prompt = prompt.parent
        for used in reversed(path):
            self._prompts.pop(used, None)
            self._prompts[used] = None

    def _make_room(self, *, cells: int, sequences: int, base: KvPrompt | None, shared: int) -> bool:
        """Evict until so much is free, but not the first `shared` tokens of `base`; whether that worked.

        It does if nothing is at work: then all can go but the tokens that are taken over, no cell of which
        is counted in `cells`.
        """
        while (short := len(self._free_sequences) < sequences) or self._free_cells < cells:
            if not self._evict_oldest(base, shared, whole=short):
                return False
        return True

    def _limit_idle(self, base: KvPrompt | None, shared: int) -> None:
        """Evict what exceeds the share of the cache that may lie idle: every cell slows all that is at work."""
        while True:
            idle = sum(
                len(prompt.tokens) - max(prompt.shared, _kept(prompt, base, shared))
                for prompt in self._prompts
                if not prompt.completions
            )
            at_work = self._context.cells - self._free_cells - idle
            if idle <= MAX_IDLE * at_work or not self._evict_oldest(base, shared):
                return

    def _evict_oldest(self, base: KvPrompt | None, shared: int, *, whole: bool = False) -> bool:
        """Evict the least recently used prompt of which something, or `whole` all, can go; whether one could."""
        for prompt in self._prompts:
            kept = _kept(prompt, base, shared)
            if not prompt.completions and (kept == 0 or (kept < len(prompt.tokens) and not whole)):
                self._evict(prompt, kept)
                return True
        return False

    def _evict(self, prompt: KvPrompt, kept: int) -> None:
        """Free all but the first `kept` tokens of a prompt."""
        self._whole.pop(prompt.tokens.tobytes(), None)
        self._context.drop(prompt.sequence, kept)
        prompt.logits = None
        if kept:
            self._free_cells += len(prompt.tokens) - kept
            prompt.tokens = prompt.tokens[:kept]
            prompt.decoded = kept
            return
        self._free_cells += prompt.own_cells
        insort(self._free_sequences, prompt.sequence)
        if prompt.guard is not None:
            insort(self._free_sequences, prompt.guard)
        del self._prompts[prompt]
        if prompt.parent:
            prompt.parent.children.remove(prompt)


def _kept(prompt: KvPrompt, base: KvPrompt | None, shared: int) -> int:
    """Return how many tokens of a prompt are stood on, counting one to come that will share those of `base`."""
    return max([child.shared for child in prompt.children] + [shared if prompt is base else 0])


def _common_length(one: TokenIds, other: TokenIds) -> int:
    length = min(len(one), len(other))
    differing = np.flatnonzero(one[:length] != other[:length])
    return int(differing[0]) if len(differing) else length
