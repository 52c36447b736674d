"""The prompts whose tokens are in the KV cache, and the account of its cells.

A new prompt finds the one with which it has its longest beginning in common and builds on it: it takes over those
cells, and only the rest is decoded. So the instructions common to all rows, a row's question, and equal prompts (the
samples of a row) are decoded once, whenever they come.

A recurrent layer keeps only the state at the end of a prompt. There a prompt can build only on whole ones, and what two
prompts have in common is decoded as a prompt of its own, for those that come later.

Unused prompts stay until their room is needed; the least recently used goes first. The part of a prompt that others
build on stays.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lmcot_cli.backends.llama.context import SPARE_SEQUENCES, LlamaContext, TokenBatch
from lmcot_cli.backends.sampling import Logits
from lmcot_cli.backends.vocabulary import TokenIds

WORTH_SHARING = 16
"""Minimum tokens to save by standing on another prompt, which may have to be decoded first."""

WORTH_MARKING = 32
"""Minimum tokens of a common beginning that becomes a prompt of its own, which takes a state."""

MAX_DEPTH = SPARE_SEQUENCES - 1
"""Maximum prompts that build on one another: one more and its completion must find free sequences above them."""

MAX_IDLE = 0.5
"""Maximum cells of unused prompts, relative to those in use. Measured (135M shape, 16 sequences): 2,048 idle cells,
1.3 times those in use, make a step 12% longer; a row that comes back saves its whole prompt."""


@dataclass(eq=False, slots=True)
class KvPrompt:
    """A prompt in the KV cache, or on its way into it.

    Attributes:
        tokens: Its tokens, [length]; once evicted in part, those that others build on.
        sequence: Its sequence in the KV cache.
        guard: A second sequence with the same tokens, where the KV cache needs it.
        parent: The prompt it builds on.
        shared: How many of its first tokens are in cells of `parent`, or of what that one builds on.
        decoded: How many of its first tokens its sequence holds.
        completions: How many completions in progress follow it.
        children: The prompts that build on it.
        logits: The logits after its last token, [vocabulary], once it is decoded.
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
        """Cells that it does not share with its parent."""
        return len(self.tokens) - self.shared

    @property
    def unread(self) -> int:
        """Tokens that are not decoded."""
        return len(self.tokens) - self.decoded

    @property
    def depth(self) -> int:
        """How many prompts are below it."""
        return self.parent.depth + 1 if self.parent else 0


class PrefixCache:
    """All prompts in a KV cache, and the cells and sequences that are free."""

    def __init__(self, context: LlamaContext) -> None:
        self._context = context
        self._prompts: dict[KvPrompt, None] = {}  # least recently used first
        self._whole: dict[bytes, KvPrompt] = {}  # by their tokens; those evicted in part are not here
        self._unread: list[KvPrompt] = []  # each after the one it builds on
        self._before: list[
            tuple[KvPrompt, int]
        ] = []  # those before the latest batch, and how far they were decoded
        self._free_cells = context.cells
        self._free_sequences = list(range(context.sequences))
        self._sequences_each = 2 if context.guards else 1
        # A new prompt and its completion need sequences besides those of the prompts below them.
        self._max_depth = min(MAX_DEPTH, (context.sequences - 1) // self._sequences_each - 1)

    @property
    def unread_tokens(self) -> int:
        """Tokens of prompts that are not decoded."""
        return sum(prompt.unread for prompt in self._unread)

    def take(self, tokens: TokenIds, room: int) -> tuple[KvPrompt, int] | None:
        """Find room for a completion of at most `room` tokens after a prompt of these tokens.

        Returns:
            The prompt, which `fill` decodes if necessary, and the sequence of the completion; None if there is no room
            until others are finished. There is always room for one.
        """
        prompt = self._whole.get(tokens.tobytes())
        base, shared = (prompt, len(tokens)) if prompt else self._closest(tokens)
        mark = 0 if prompt else self._mark(tokens, base, shared)
        sequences = 1 if prompt else 1 + self._sequences_each * (2 if mark else 1)
        cells = len(tokens) - shared + room
        if not self._make_room(cells=cells, sequences=sequences, base=base, shared=shared):
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

    def give_back(self, prompt: KvPrompt, sequence: int, room: int) -> None:
        """Free what a completion took; its prompt stays in the cache."""
        self._context.drop(sequence)
        insort(self._free_sequences, sequence)
        self._free_cells += room
        prompt.completions -= 1

    def fill(self, batch: TokenBatch) -> list[KvPrompt]:
        """Fill a batch up with prompts; return those whose last token is in it."""
        self._before = [(prompt, prompt.decoded) for prompt in self._unread]
        complete = []
        for prompt in [prompt for prompt in self._unread if self._begin(prompt)]:
            part = prompt.tokens[prompt.decoded :][: batch.room]
            if not len(part):
                break
            last = len(part) == prompt.unread
            batch.add_run(part, prompt.decoded, prompt.sequence, last_logits=last)
            prompt.decoded += len(part)
            complete += [prompt] if last else []
        self._unread = [prompt for prompt in self._unread if prompt.unread]
        return complete

    def take_back(self) -> None:
        """Undo the latest `fill`, whose batch was not computed."""
        self._unread = [prompt for prompt, _ in self._before]
        for prompt, decoded in self._before:
            begun = prompt.decoded >= prompt.shared
            prompt.decoded = max(decoded, prompt.shared if begun else 0)

    def drop_unread(self) -> None:
        """Forget the prompts that are not decoded, except those that something follows or builds on."""
        for prompt in reversed(list(self._unread)):  # what builds on a prompt comes after it
            if not prompt.completions and not prompt.children:
                self._evict(prompt, 0)

    def clear(self) -> None:
        """Forget all prompts; no completion may be in progress."""
        while self._prompts:
            self._evict(next(prompt for prompt in self._prompts if not prompt.children), 0)
        self._context.clear()

    def _begin(self, prompt: KvPrompt) -> bool:
        """Let a prompt take over what it shares, once that is decoded; return whether it can be decoded on."""
        if prompt.decoded < prompt.shared and prompt.parent and prompt.parent.decoded >= prompt.shared:
            self._context.share(prompt.parent.sequence, prompt.sequence, prompt.shared)
            prompt.decoded = prompt.shared
        return prompt.decoded >= prompt.shared and prompt.unread > 0

    def _closest(self, tokens: TokenIds) -> tuple[KvPrompt | None, int]:
        """Find the prompt to build on, and with how many tokens."""
        best: KvPrompt | None = None
        shared = WORTH_SHARING - 1
        for prompt in self._prompts:
            if len(prompt.tokens) > shared and (common := self._shareable(tokens, prompt)) > shared:
                best, shared = prompt, common
        shared = min(shared, len(tokens) - 1)  # the logits after the last token must be computed
        while best and (shared <= best.shared or best.depth >= self._max_depth):
            shared = min(shared, best.shared)
            best = best.parent
        return (best, shared) if best else (None, 0)

    def _shareable(self, tokens: TokenIds, prompt: KvPrompt) -> int:
        """Return how many of these tokens could be taken over from a prompt."""
        common = _common_length(tokens, prompt.tokens)
        return common if self._context.shares_parts or common == len(prompt.tokens) else 0

    def _mark(self, tokens: TokenIds, base: KvPrompt | None, shared: int) -> int:
        """Return how many of these tokens to decode as a prompt of their own; 0 if that is not worth it."""
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
        self._unread.append(prompt)
        return prompt

    def _touch(self, prompt: KvPrompt) -> None:
        """Note that a prompt, and with it those below it, is used now."""
        for used in reversed(list(_path(prompt))):
            self._prompts.pop(used, None)
            self._prompts[used] = None

    def _make_room(self, *, cells: int, sequences: int, base: KvPrompt | None, shared: int) -> bool:
        """Evict until so much is free, except the first `shared` tokens of `base`; return whether that worked.

        It does if nothing is in progress: then everything can go but the tokens that are taken over, none of which
        counts in `cells`.
        """
        while (short := len(self._free_sequences) < sequences) or self._free_cells < cells:
            if not self._evict_oldest(base, shared, whole=short):
                return False
        return True

    def _limit_idle(self, base: KvPrompt | None, shared: int) -> None:
        """Evict what exceeds the share of the cache that may be idle: every cell slows all that is in progress."""
        while True:
            idle = sum(
                len(prompt.tokens) - max(prompt.shared, _kept(prompt, base, shared))
                for prompt in self._prompts
                if not prompt.completions
            )
            in_use = self._context.cells - self._free_cells - idle
            if idle <= MAX_IDLE * in_use or not self._evict_oldest(base, shared):
                return

    def _evict_oldest(self, base: KvPrompt | None, shared: int, *, whole: bool = False) -> bool:
        """Evict the least recently used prompt of which a part, or `whole` all, can go; return whether there is one."""
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
            prompt.decoded = min(prompt.decoded, kept)
            return
        self._unread = [one for one in self._unread if one is not prompt]
        self._free_cells += prompt.own_cells
        insort(self._free_sequences, prompt.sequence)
        if prompt.guard is not None:
            insort(self._free_sequences, prompt.guard)
        del self._prompts[prompt]
        if prompt.parent:
            prompt.parent.children.remove(prompt)


def _path(prompt: KvPrompt | None) -> Iterator[KvPrompt]:
    """Yield a prompt and those below it."""
    while prompt:
        yield prompt
        prompt = prompt.parent


def _kept(prompt: KvPrompt, base: KvPrompt | None, shared: int) -> int:
    """Return how many tokens of a prompt others build on, including a new one that will share those of `base`."""
    return max([child.shared for child in prompt.children] + [shared if prompt is base else 0])


def _common_length(one: TokenIds, other: TokenIds) -> int:
    length = min(len(one), len(other))
    differing = np.flatnonzero(one[:length] != other[:length])
    return int(differing[0]) if len(differing) else length
