"""The loop that writes completions: admit, decode, sample, retire.

Every step decodes the newest token of each completion at work, and a batch of the prompts that wait, so that
neither holds up the other for longer than a batch. A completion is admitted when all the cells
it may ever need are free, so decoding never runs out of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from lmcot_cli.backends.base import Completion, FinishReason, Sampling
from lmcot_cli.backends.llama.abandon import AbandonedError
from lmcot_cli.backends.llama.context import LlamaContext, Logits, TokenIds
from lmcot_cli.backends.llama.prefixes import KvPrompt, PrefixCache
from lmcot_cli.backends.llama.sampling import Sampler, SamplerDraws
from lmcot_cli.backends.llama.vocabulary import Vocabulary
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.reply import Reply
from lmcot_cli.backends.thinking import Marks

MAX_MIXED = 63
"""Tokens up to which prompts go into one batch with written tokens. From 64 tokens on llama.cpp computes
flash attention in tiles over the whole cache, for which single tokens of many sequences are a bad case: 16 of
them with 256 of a prompt took 790 ms together and 700 apart (135M shape, one core)."""


@dataclass(slots=True)
class Work:
    """What the engine has done since it was loaded.

    Attributes:
        prompt_tokens: Prompt tokens that were decoded; what a prompt took over from another is not among them.
        completion_tokens: Written tokens that were decoded to write the next.
        batches: Calls of `llama_decode`.
        decode_seconds: Time spent in them.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    batches: int = 0
    decode_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SequenceJob:
    """A request that waits.

    Attributes:
        ticket: What its completion is known by.
        tokens: Its prompt; with `room` no more than the cache holds.
        seed: Of its draws.
        sampling: How its tokens are chosen.
        room: Most tokens to write, thought and reply together.
        opened: The marks of the thought that the prompt has opened.
        mask: What its reply must be, None where nothing constrains it.
        cue: The vocabulary, where the reply is to begin on the line of its cue.
    """

    ticket: int
    tokens: TokenIds
    seed: int
    sampling: Sampling
    room: int
    opened: Marks | None = None
    mask: Mask | None = None
    cue: Lexicon | None = None


class WritingSequence:
    """A completion at work.

    Attributes:
        job: What it completes.
        prompt: The prompt it stands on.
        sequence: Its own sequence in the KV cache.
        draws: How its tokens are drawn.
        reply: What they make.
        token: The newest.
    """

    __slots__ = ("draws", "job", "prompt", "reply", "sequence", "token")

    def __init__(self, job: SequenceJob, prompt: KvPrompt, sequence: int, vocabulary: Vocabulary) -> None:
        self.job = job
        self.prompt = prompt
        self.sequence = sequence
        self.reply = Reply(vocabulary, job.sampling, job.room, job.opened, job.mask, job.cue)
        self.draws = SamplerDraws(job.sampling, job.seed, self.reply.drawn_by)
        self.token = -1

    @property
    def position(self) -> int:
        """Where the newest token stands."""
        return len(self.job.tokens) + self.reply.tokens - 1


class Scheduler:
    """Writes completions, many at a time.

    Args:
        context: The KV cache and batch; nothing else uses them.
        vocabulary: The model's vocabulary.
        parallel: Most completions at work.
        threads: Threads that sample.

    Attributes:
        work: Counters of what was decoded.
        done: Tickets and completions that were not picked up yet.
    """

    def __init__(self, context: LlamaContext, vocabulary: Vocabulary, parallel: int, threads: int) -> None:
        self.work = Work()
        self.done: list[tuple[int, Completion]] = []
        self._context = context
        self._vocabulary = vocabulary
        self._parallel = parallel
        self._cache = PrefixCache(context)
        self._sampler = Sampler(vocabulary.size, threads)
        self._waiting: deque[SequenceJob] = deque()
        self._prefilling: list[KvPrompt] = []
        self._starting: list[WritingSequence] = []
        self._writing: list[WritingSequence] = []

    @property
    def unfinished(self) -> int:
        """Jobs that are not done."""
        return len(self._waiting) + len(self._starting) + len(self._writing)

    def submit(self, job: SequenceJob) -> None:
        """Queue a job."""
        self._waiting.append(job)

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop jobs, and the prompts that are decoded for them alone; completions that are done go, too."""
        self._waiting = deque(job for job in self._waiting if job.ticket not in tickets)
        self.done = [one for one in self.done if one[0] not in tickets]
        for at_work in (self._starting, self._writing):
            for each in [each for each in at_work if each.job.ticket in tickets]:
                at_work.remove(each)
                self._cache.give_back(each.prompt, each.sequence, each.job.room)
        # What stands on a prompt comes after it, and goes before it.
        gone = [prompt for prompt in reversed(self._prefilling) if self._cache.abandon(prompt)]
        self._prefilling = [prompt for prompt in self._prefilling if prompt not in gone]

    def step(self) -> None:
        """Bring all that is at work one token on.

        Raises:
            ModelError: llama.cpp could not compute a batch.
        """
        self._admit()
        self._start()
        self._decode()

    def reset(self) -> None:
        """Forget all prompts, so that what follows does not depend on what went before."""
        assert self.unfinished == 0
        self._cache.clear()

    def close(self) -> None:
        """End the sampler's threads."""
        self._sampler.close()

    def _admit(self) -> None:
        """Admit the next jobs, as many as there is room for."""
        while self._waiting and len(self._starting) + len(self._writing) < self._parallel:
            job = self._waiting[0]
            taken = self._cache.take(job.tokens, job.room)
            if taken is None:
                return
            self._waiting.popleft()
            prompt, sequence = taken
            self._prefilling += self._cache.added()
            self._starting.append(WritingSequence(job, prompt, sequence, self._vocabulary))

    def _start(self) -> None:
        """Choose the first tokens of the completions whose prompts are decoded."""
        starting, self._starting = self._starting, []
        ready: list[WritingSequence] = []
        logits: list[Logits] = []
        for writing in starting:
            if writing.prompt.logits is None:
                self._starting.append(writing)
            else:
                self._context.share(writing.prompt.sequence, writing.sequence, len(writing.job.tokens))
                ready.append(writing)
                logits.append(writing.prompt.logits)
        if ready:
            self._write(ready, np.stack(logits))

    def _decode(self) -> None:
        """Decode the newest tokens and a batch of prompts, in one go only if they are few."""
        # Of recurrent models llama.cpp computes only sequences with successive numbers at once, as they come.
        writing = sorted(self._writing, key=lambda each: each.sequence)
        self._writing = []  # those that go on come back with their next token
        self._add_written(writing)
        pending = sum(len(prompt.tokens) - prompt.decoded for prompt in self._prefilling)
        if writing and len(writing) + pending > MAX_MIXED:
            self._compute(writing, [])
            writing = []
        before = [(prompt, prompt.decoded) for prompt in self._prefilling]
        prompts = self._add_prompts()
        if not len(self._context.batch):
            return
        try:
            self._compute(writing, prompts)
        except AbandonedError:
            self._prefilling = [prompt for prompt, _ in before]
            for prompt, decoded in before:
                begun = prompt.decoded >= prompt.shared
                prompt.decoded = max(decoded, prompt.shared if begun else 0)

    def _add_written(self, writing: Sequence[WritingSequence]) -> None:
        """Put the newest token of each completion into the batch."""
        self._context.batch.add_each(
            [each.token for each in writing],
            [each.position for each in writing],
            [each.sequence for each in writing],
        )
        self.work.completion_tokens += len(writing)

    def _add_prompts(self) -> list[KvPrompt]:
        """Fill the batch up with prompts; return those whose last token is in it."""
        batch = self._context.batch
        complete = []
        for prompt in [prompt for prompt in self._prefilling if self._cache.begin(prompt)]:
            part = prompt.tokens[prompt.decoded : prompt.decoded + batch.room]
            if not len(part):
                break
            last = prompt.decoded + len(part) == len(prompt.tokens)
            batch.add_run(part, prompt.decoded, prompt.sequence, last_logits=last)
            prompt.decoded += len(part)
            self.work.prompt_tokens += len(part)
            complete += [prompt] if last else []
        self._prefilling = [prompt for prompt in self._prefilling if prompt.decoded < len(prompt.tokens)]
        return complete

    def _compute(self, writing: Sequence[WritingSequence], prompts: Sequence[KvPrompt]) -> None:
        """Decode the batch, in which `writing` come first and `prompts` end, and use its logits.

        Raises:
            AbandonedError: A signal came while it read prompts; they can be read again.
        """
        begin = perf_counter()
        logits = self._context.decode(abandonable=not writing)
        self.work.decode_seconds += perf_counter() - begin
        self.work.batches += 1
        for prompt, row in zip(prompts, logits[len(writing) :], strict=True):
            prompt.logits = row.copy()
        if writing:
            self._write(writing, logits[: len(writing)])

    def _write(self, writing: Sequence[WritingSequence], logits: Logits) -> None:
        """Choose the next token of each completion, and see whether it is the last."""
        tokens, logprobs = self._sampler.choose(logits, [each.draws for each in writing])
        for each, token, logprob in zip(writing, tokens, logprobs, strict=True):
            each.token = token
            finish_reason = each.reply.add(token, logprob)
            if finish_reason:
                self._retire(each, finish_reason)
            else:
                self._writing.append(each)

    def _retire(self, writing: WritingSequence, finish_reason: FinishReason) -> None:
        """Record a completion and free what it held."""
        completion = writing.reply.completion(len(writing.job.tokens), finish_reason)
        self.done.append((writing.job.ticket, completion))
        self._cache.give_back(writing.prompt, writing.sequence, writing.job.room)
