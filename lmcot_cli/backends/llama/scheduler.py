"""The loop that writes completions: admit, start, decode, draw, retire.

Every step decodes the newest token of each completion in progress, and a batch of the prompts that wait, so that
neither delays the other by more than a batch. A completion is admitted when all the cells that it may ever need are
free, so decoding never runs out of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from lmcot_cli.backends.llama.abandon import AbandonedError
from lmcot_cli.backends.llama.context import LlamaContext
from lmcot_cli.backends.llama.prefixes import KvPrompt, PrefixCache
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.backends.local import Scheduler
from lmcot_cli.backends.reply import PartialCompletion
from lmcot_cli.backends.sampling import Logits, Sampler

MAX_MIXED = 63
"""Maximum tokens of a batch that mixes prompts and written tokens. From 64 tokens llama.cpp computes flash attention in
tiles over the whole cache, which is slow for single tokens of many sequences: 16 of them with 256 of a prompt took
790 ms together and 700 apart (135M shape, one core)."""


@dataclass(slots=True)
class Work:
    """What the engine has done since it was loaded.

    Attributes:
        prompt_tokens: Prompt tokens that were decoded, without those shared with another prompt.
        completion_tokens: Written tokens that were decoded to write the next.
        batches: Calls of `llama_decode`.
        decode_seconds: Time spent in them.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    batches: int = 0
    decode_seconds: float = 0.0


@dataclass(frozen=True, eq=False, slots=True)
class WritingSequence:
    """A completion in progress, in the KV cache.

    Attributes:
        completion: What was written.
        prompt: The prompt that it follows.
        number: Its own sequence in the KV cache.
    """

    completion: PartialCompletion
    prompt: KvPrompt
    number: int

    @property
    def position(self) -> int:
        """The position of the newest token."""
        return len(self.completion.job.prompt) + self.completion.tokens - 1


class LlamaScheduler(Scheduler):
    """Writes completions by continuous batching.

    Attributes:
        work: Counts of what was decoded.
    """

    def __init__(
        self, context: LlamaContext, vocabulary: LlamaVocabulary, parallel: int, threads: int
    ) -> None:
        super().__init__()
        self.work = Work()
        self._context, self._vocabulary, self._parallel = context, vocabulary, parallel
        self._cache = PrefixCache(context)
        self._sampler = Sampler(vocabulary.size, threads)
        self._starting: list[WritingSequence] = []
        self._writing: list[WritingSequence] = []

    @property
    def unfinished(self) -> int:
        """Jobs without a reply."""
        return len(self._waiting) + len(self._starting) + len(self._writing)

    def step(self) -> None:
        """Advance each completion in progress by one token; see `Scheduler.step`."""
        self._admit()
        self._start()
        self._decode()

    def _admit(self) -> None:
        """Admit the next jobs, as many as there is room for."""
        while self._waiting and len(self._starting) + len(self._writing) < self._parallel:
            job = self._waiting[0]
            place = self._cache.take(job.prompt, job.room)
            if place is None:
                return
            self._waiting.popleft()
            self._starting.append(WritingSequence(PartialCompletion(job, self._vocabulary), *place))

    def _start(self) -> None:
        """Draw the first tokens of the completions whose prompts are decoded."""
        starting, self._starting = self._starting, []
        ready: list[WritingSequence] = []
        logits: list[Logits] = []
        for each in starting:
            if each.prompt.logits is None:
                self._starting.append(each)
            else:
                self._context.share(each.prompt.sequence, each.number, len(each.completion.job.prompt))
                ready.append(each)
                logits.append(each.prompt.logits)
        if ready:
            self._draw(ready, np.stack(logits))

    def _decode(self) -> None:
        """Decode the newest tokens and a batch of prompts, together only if they are few."""
        # For recurrent models llama.cpp batches only sequences with successive numbers, in this order.
        writing = sorted(self._writing, key=lambda each: each.number)
        self._writing = []  # `_draw` puts back those that continue
        batch = self._context.batch
        batch.add_each(
            [each.completion.newest for each in writing],
            [each.position for each in writing],
            [each.number for each in writing],
        )
        if writing and len(writing) + self._cache.unread_tokens > MAX_MIXED:
            self._compute(writing, [])
            writing = []
        prompts = self._cache.fill(batch)
        if len(batch):
            self._compute(writing, prompts)

    def _compute(self, writing: Sequence[WritingSequence], prompts: Sequence[KvPrompt]) -> None:
        """Decode the batch, which `writing` begin and in which `prompts` end, and use its logits."""
        self.work.completion_tokens += len(writing)
        self.work.prompt_tokens += len(self._context.batch) - len(writing)
        begin = perf_counter()
        try:
            logits = self._context.decode(abandonable=not writing)
        except AbandonedError:
            self._cache.take_back()
            return
        self.work.decode_seconds += perf_counter() - begin
        self.work.batches += 1
        for prompt, row in zip(prompts, logits[len(writing) :], strict=True):
            prompt.logits = row.copy()
        if writing:
            self._draw(writing, logits[: len(writing)])

    def _draw(self, writing: Sequence[WritingSequence], logits: Logits) -> None:
        """Draw the next token of each completion, [completions, vocabulary], and retire those that end."""
        tokens, logprobs = self._sampler.choose(logits, [each.completion.draws for each in writing])
        for each, token, logprob in zip(writing, tokens, logprobs, strict=True):
            finish_reason = each.completion.add(token, logprob)
            if finish_reason is None:
                self._writing.append(each)
                continue
            self.done.append((each.completion.job.ticket, each.completion.completion(finish_reason)))
            self._give_back(each)

    def _give_back(self, writing: WritingSequence) -> None:
        self._cache.give_back(writing.prompt, writing.number, writing.completion.job.room)

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop jobs, and the prompts that are decoded only for them."""
        super().cancel(tickets)
        for in_progress in (self._starting, self._writing):
            for each in [each for each in in_progress if each.completion.job.ticket in tickets]:
                in_progress.remove(each)
                self._give_back(each)
        self._cache.drop_unread()

    def reset(self) -> None:
        """Forget all prompts; every job must be finished."""
        assert self.unfinished == 0
        self._cache.clear()

    def close(self) -> None:
        """End the sampler's threads."""
        self._sampler.close()
