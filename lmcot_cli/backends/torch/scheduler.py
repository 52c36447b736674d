"""The loop that writes one batch of completions after another: read, draw, retire, continue with the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from lmcot_cli.backends.local import Scheduler
from lmcot_cli.backends.reply import PartialCompletion, WritingJob
from lmcot_cli.backends.sampling import Sampler
from lmcot_cli.backends.torch.sequences import Sequences
from lmcot_cli.backends.vocabulary import Vocabulary
from lmcot_cli.errors import ModelError

Begin: TypeAlias = Callable[[Sequence[Sequence[int]]], Sequences]


class BatchScheduler(Scheduler):
    """Writes completions in batches of prompts of similar length, and reads equal prompts once.

    Args:
        begin: Reads prompts into a new KV cache.
        vocabulary: What tokens stand for.
        width: Maximum completions per batch.
        spec: What messages call the model.
    """

    def __init__(self, begin: Begin, vocabulary: Vocabulary, width: int, spec: str) -> None:
        super().__init__()
        self._begin, self._vocabulary, self._width, self._spec = begin, vocabulary, width, spec
        self._sequences: Sequences | None = None
        self._writing: list[PartialCompletion] = []

    @property
    def unfinished(self) -> int:
        """Jobs without a reply."""
        return len(self._waiting) + len(self._writing)

    def step(self) -> None:
        """Advance each completion of the batch by one token, or begin the next batch; see `Scheduler.step`."""
        with self._memory_explained():
            if not self._writing:
                self._writing = [PartialCompletion(job, self._vocabulary) for job in self._next_jobs()]
                self._sequences = self._read([one.job for one in self._writing])
                return
            assert self._sequences
            self._draw(self._sequences)
            if self._writing:
                self._sequences.append([one.newest for one in self._writing])

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop jobs and their replies."""
        super().cancel(tickets)
        self._keep([one for one in self._writing if one.job.ticket not in tickets])

    def reset(self) -> None:
        """Do nothing: no batch depends on an earlier one."""

    def close(self) -> None:
        """Free the KV cache."""
        self._sequences, self._writing = None, []

    def _next_jobs(self) -> list[WritingJob]:
        """Take the oldest job, and those of similar length that are sampled alike."""
        oldest = self._waiting[0]
        alike = [job for job in self._waiting if job.sampling == oldest.sampling]
        alike.sort(key=lambda job: (len(job.prompt), job.prompt.tolist()))  # equal prompts become neighbours
        first = alike.index(oldest) // self._width * self._width
        jobs = alike[first : first + self._width]
        super().cancel({job.ticket for job in jobs})
        return jobs

    def _read(self, jobs: Sequence[WritingJob]) -> Sequences:
        """Read the prompts of a batch into a KV cache, equal ones once."""
        prompts = [tuple(job.prompt.tolist()) for job in jobs]
        distinct = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
        sequences = self._begin(list(distinct))
        if len(distinct) < len(prompts):
            sequences.select([distinct[prompt] for prompt in prompts])
        self._sampler = Sampler(sequences.logits.shape[1], threads=1)
        return sequences

    def _draw(self, sequences: Sequences) -> None:
        """Draw the next token of each completion, and retire those that end."""
        tokens, logprobs = self._sampler.choose(sequences.logits, [one.draws for one in self._writing])
        left = []
        for one, token, logprob in zip(self._writing, tokens, logprobs, strict=True):
            if finish_reason := one.add(token, logprob):
                self.done.append((one.job.ticket, one.completion(finish_reason)))
            else:
                left.append(one)
        self._keep(left)

    def _keep(self, left: list[PartialCompletion]) -> None:
        """Continue with these completions of the batch only."""
        if self._sequences and 0 < len(left) < len(self._writing):
            self._sequences.select([row for row, one in enumerate(self._writing) if one in left])
        self._writing = left

    @contextmanager
    def _memory_explained(self) -> Iterator[None]:
        """Compute without gradients, and explain a lack of memory in one line.

        Raises:
            ModelError: There is not enough memory.
        """
        import torch

        try:
            with torch.inference_mode():
                yield
        except torch.OutOfMemoryError as error:
            longest = max(len(one.job.prompt) for one in self._writing)
            raise ModelError(
                f"{self._spec}: no memory for {len(self._writing)} sequences of {longest} prompt tokens"
                f" + {self._writing[0].job.room}; try a smaller --parallel"
            ) from error
