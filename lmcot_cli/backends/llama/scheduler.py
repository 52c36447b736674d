"""The loop that writes all completions of one call: admit, share, decode, sample, retire.

Each step decodes one batch: the newest token of every completion, then as much of the waiting prompts as
still goes in. Admission keeps an account of KV cells: a completion is admitted when all the cells it may ever
need are free, so decoding never runs out of them. It cannot get stuck: when nothing is at work, the prefixes
that are held lie on the way to the next prompt (the leaves of a prefix stand together), and any one prompt
fits into the whole cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lmcot_cli.backends.base import Completion, Sampling
from lmcot_cli.backends.llama.context import LlamaContext, Logits
from lmcot_cli.backends.llama.prefixes import Leaf, Prefix, Tokens, share_prefixes
from lmcot_cli.backends.llama.sampling import log_normaliser, new_sampler
from lmcot_cli.backends.llama.spans import Account, SharedSpan, Span, Writing
from lmcot_cli.backends.llama.text import StopText
from lmcot_cli.backends.llama.vocabulary import Vocabulary


@dataclass(slots=True)
class Work:
    """What the engine has decoded since it was loaded.

    Attributes:
        prompt_tokens: Prompt tokens, those of a shared prefix once.
        completion_tokens: Written tokens that were decoded to write the next.
        batches: Calls of `llama_decode`.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    batches: int = 0


@dataclass(frozen=True, slots=True)
class Engine:
    """What stays loaded between calls.

    Attributes:
        context: The KV cache and batch.
        vocabulary: The model's vocabulary.
        parallel: Most completions in one batch.
        work: Counters of what was decoded.
    """

    context: LlamaContext
    vocabulary: Vocabulary
    parallel: int
    work: Work


class Scheduler:
    """Writes one completion a prompt, once.

    The batches depend on the arguments alone: nothing in the context is left from an earlier call.

    Args:
        engine: The loaded model; nothing else uses its context meanwhile.
        prompts: Token ids of each prompt, one token or more; with `max_tokens` no more than the cache holds.
        seeds: One seed a prompt.
        sampling: How tokens are chosen.
    """

    def __init__(
        self, engine: Engine, prompts: Sequence[Tokens], seeds: Sequence[int], sampling: Sampling
    ) -> None:
        self._engine = engine
        self._context = engine.context
        self._prompts = prompts
        self._seeds = seeds
        self._sampling = sampling
        self._account = Account(engine.context.cells, engine.context.sequences)
        self._waiting = deque(share_prefixes(prompts))
        self._shared: dict[Prefix, SharedSpan] = {}
        self._prefilling: list[Span] = []
        self._writing: list[Writing] = []
        self._at_work = 0
        self._done: dict[int, Completion] = {}

    def run(self) -> list[Completion]:
        """Return the completions in the order of the prompts.

        Raises:
            ModelError: llama.cpp could not compute a batch.
        """
        self._context.clear()
        while self._waiting or self._at_work:
            self._admit()
            self._begin()
            self._decode()
        return [self._done[index] for index in range(len(self._prompts))]

    def _admit(self) -> None:
        """Admit the next prompts, as many as there is room for."""
        while self._waiting and self._at_work < self._engine.parallel:
            leaf = self._waiting[0]
            missing = self._missing_prefixes(leaf)
            own_cells = len(leaf.tokens) + self._sampling.max_tokens
            cells = own_cells + sum(len(prefix.tokens) for prefix in missing)
            if not self._account.covers(cells, sequences=len(missing) + 1):
                return
            for prefix in missing:
                self._hold(prefix)
            self._start_writing(leaf, own_cells)
            self._waiting.popleft()

    def _missing_prefixes(self, leaf: Leaf) -> list[Prefix]:
        """List the prefixes before `leaf` that are not in the cache, outermost first."""
        missing: list[Prefix] = []
        prefix = leaf.parent
        while prefix is not None and prefix not in self._shared:
            missing.insert(0, prefix)
            prefix = prefix.parent
        return missing

    def _hold(self, prefix: Prefix) -> None:
        span = SharedSpan(
            sequence=self._account.take(len(prefix.tokens)),
            cells=len(prefix.tokens),
            parent=self._shared[prefix.parent] if prefix.parent else None,
            position=prefix.start,
            pending=prefix.tokens,
            prefix=prefix,
            unfinished=prefix.leaves,
        )
        self._shared[prefix] = span
        self._prefilling.append(span)

    def _start_writing(self, leaf: Leaf, cells: int) -> None:
        writing = Writing(
            sequence=self._account.take(cells),
            cells=cells,
            parent=self._shared[leaf.parent] if leaf.parent else None,
            position=leaf.start,
            pending=leaf.tokens,
            index=leaf.index,
            sampler=new_sampler(self._sampling, self._seeds[leaf.index]),
            text=StopText(self._sampling.stop),
        )
        self._at_work += 1
        self._prefilling.append(writing)

    def _begin(self) -> None:
        """Let spans whose parent is decoded go on from it."""
        for span in [span for span in self._prefilling if span.can_begin]:
            span.begun = True
            if span.parent:
                self._context.share(span.parent.sequence, span.sequence)
            if isinstance(span, Writing) and not len(span.pending):
                self._prefilling.remove(span)
                self._write_after_prefix(span)

    def _write_after_prefix(self, writing: Writing) -> None:
        """Choose the first token of a prompt that is shared to its end."""
        prefix = writing.parent
        assert prefix is not None
        assert prefix.logits is not None
        self._write(writing, prefix.logits, prefix.normaliser)

    def _decode(self) -> None:
        """Decode one batch and hand its logits out."""
        asking = self._fill_batch()
        if not len(self._context.batch):  # every completion at work ended with its first token
            return
        logits = self._context.decode()
        self._engine.work.batches += 1
        for span, row, normaliser in zip(asking, logits, log_normaliser(logits).tolist(), strict=True):
            if isinstance(span, Writing):
                self._write(span, row, normaliser)
            elif isinstance(span, SharedSpan):
                span.logits, span.normaliser = row.copy(), normaliser

    def _fill_batch(self) -> list[Span]:
        """Fill the batch, written tokens first; return the spans that get logits, in their order."""
        asking: list[Span] = [*self._writing]
        for writing in self._writing:
            self._add_to_batch(writing)
        self._engine.work.completion_tokens += len(self._writing)
        self._writing = []  # those that go on come back when their next token is chosen
        for span in [span for span in self._prefilling if span.begun]:
            self._engine.work.prompt_tokens += self._add_to_batch(span)
            if not len(span.pending):
                self._prefilling.remove(span)
                asking += [span] if span.wants_logits else []
        return asking

    def _add_to_batch(self, span: Span) -> int:
        """Move as many pending tokens into the batch as go in; return how many."""
        batch = self._context.batch
        now, span.pending = span.pending[: batch.room], span.pending[batch.room :]
        if len(now):
            batch.add(
                now, span.position, span.sequence, last_logits=span.wants_logits and not len(span.pending)
            )
            span.position += len(now)
        return len(now)

    def _write(self, writing: Writing, logits: Logits, normaliser: float) -> None:
        """Choose the next token of a completion, and see whether it is the last."""
        token = writing.sampler.sample(logits)
        piece = self._engine.vocabulary.piece(token)
        if piece is None:
            self._retire(writing, "stop")
            return
        writing.tokens += 1
        writing.logprob += float(logits[token]) - normaliser
        if writing.text.add(piece):
            self._retire(writing, "stop")
        elif writing.tokens == self._sampling.max_tokens:
            self._retire(writing, "length")
        else:
            writing.pending = np.array([token], np.int32)
            self._writing.append(writing)

    def _retire(self, writing: Writing, finish_reason: Literal["stop", "length"]) -> None:
        """Record a completion and free what it held, its prefixes too if it was their last."""
        self._done[writing.index] = Completion(
            text=writing.text.text,
            prompt_tokens=len(self._prompts[writing.index]),
            completion_tokens=writing.tokens,
            finish_reason=finish_reason,
            logprob=writing.logprob / writing.tokens if writing.tokens else None,
        )
        self._at_work -= 1
        self._free(writing)
        prefix = writing.parent
        while prefix is not None:
            prefix.unfinished -= 1
            if prefix.unfinished == 0:
                self._free(prefix)
                del self._shared[prefix.prefix]
            prefix = prefix.parent

    def _free(self, span: Span) -> None:
        self._context.drop(span.sequence)
        self._account.give_back(span)
