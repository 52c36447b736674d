"""What all models that run on this machine have in common, whichever library computes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from time import monotonic

import numpy as np

from lmcot_cli.backends.base import (
    POLL_SECONDS,
    Backend,
    Completion,
    ModelIdentity,
    Reply,
    Request,
    Sampling,
    Thinking,
)
from lmcot_cli.backends.chat import thinks
from lmcot_cli.backends.constraint import Constraint
from lmcot_cli.backends.context_limit import ContextLimit
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.masks.portable import portable_mask
from lmcot_cli.backends.reply import WritingJob
from lmcot_cli.backends.thinking import Marks, opened_by
from lmcot_cli.backends.vocabulary import TokenIds, Vocabulary
from lmcot_cli.errors import RowError

TOKENIZED_PROMPTS = 256
"""Prompts whose tokens are kept: the samples of a row are submitted one after another."""


class Scheduler(ABC):
    """Writes completions, several at a time.

    Attributes:
        done: Replies that have not been collected.
    """

    def __init__(self) -> None:
        self.done: list[Reply] = []
        self._waiting: deque[WritingJob] = deque()

    def submit(self, job: WritingJob) -> None:
        """Queue a job."""
        self._waiting.append(job)

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop jobs and their replies."""
        self._waiting = deque(job for job in self._waiting if job.ticket not in tickets)
        self.done = [reply for reply in self.done if reply[0] not in tickets]

    @property
    @abstractmethod
    def unfinished(self) -> int:
        """Jobs without a reply."""

    @abstractmethod
    def step(self) -> None:
        """Advance each completion in progress by one token.

        Raises:
            ModelError: The model cannot compute it.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget earlier prompts; every job must be finished."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds."""


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """A prompt as the model reads it."""

    tokens: TokenIds
    opened: Marks | None


class LocalBackend(Backend):
    """A model that runs on this machine and is asked for one token at a time.

    Args:
        vocabulary: Its vocabulary.
        scheduler: Writes its completions.
        window: Requests that fill a batch.
        limit: The tokens that a request may take; None where the model sets no limit.
    """

    def __init__(
        self, vocabulary: Vocabulary, scheduler: Scheduler, window: int, limit: ContextLimit | None
    ) -> None:
        self.vocabulary = vocabulary
        self._scheduler, self._window, self._limit = scheduler, window, limit
        self._lexicon = Lexicon(vocabulary, vocabulary.size)
        self._read = lru_cache(TOKENIZED_PROMPTS)(self._tokenized)
        self._closed = False

    @property
    def window(self) -> int:
        """Requests that fill a batch."""
        return self._window

    @cached_property
    def identity(self) -> ModelIdentity:  # type: ignore[override]  # it can be set, as the base class wants
        """The spec, and the SHA-256 of the model's files (computed once, in seconds for a large model)."""
        return self._identify()

    @property
    def pending(self) -> int:
        """Submitted requests whose replies have not been collected."""
        return self._scheduler.unfinished + len(self._scheduler.done)

    @property
    def context_tokens(self) -> int | None:
        """Maximum tokens of a request (for an encoder, of the prompt); None where the model sets no limit."""
        return self._limit.tokens if self._limit else None

    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        """Submit a request; see `Backend.submit`.

        Raises:
            ModelError: The chat template does not work.
            UsageError: llama.cpp cannot follow the schema that constrains the reply.
            ValueError: The backend is closed, or no token may be written.
        """
        self._check_open()
        if sampling.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {sampling.max_tokens}")
        job = self._job(ticket, request, sampling)
        if isinstance(job, RowError):
            self._scheduler.done.append((ticket, job))
        else:
            self._scheduler.submit(job)

    def excess(self, request: Request, sampling: Sampling) -> int | None:
        """Return by how many tokens a request exceeds the context; see `Backend.excess`.

        Raises:
            RowError: The tokenizer cannot read the prompt.
        """
        if self._limit is None:
            return None
        prompt = self._prompt(request, sampling)
        if isinstance(prompt, RowError):
            raise prompt
        return len(prompt.tokens) + self._beside(self._room(sampling)) - self._limit.tokens

    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Return the replies that arrived; see `Backend.poll`."""
        until = monotonic() + POLL_SECONDS
        while wait and not self._scheduler.done and self._scheduler.unfinished:
            self._scheduler.step()
            if monotonic() > until:
                break
        replies, self._scheduler.done = self._scheduler.done, []
        return replies

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop pending requests; see `Backend.cancel`."""
        self._scheduler.cancel(tickets)

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Write one completion per request, independently of earlier requests; see `Backend.complete`."""
        if requests:
            self.reset()
        return super().complete(requests, sampling)

    def reset(self) -> None:
        """Forget the prompts of earlier requests; see `Backend.reset`.

        Raises:
            ValueError: Requests are pending, or the backend is closed.
        """
        self._check_open()
        if self.pending:
            raise ValueError(f"{self.pending} requests are pending")
        self._scheduler.reset()

    def close(self) -> None:
        """Free the model; a second call has no effect."""
        self._closed = True
        self._scheduler.close()

    def _job(self, ticket: int, request: Request, sampling: Sampling) -> WritingJob | RowError:
        """Return the job of a request, or why it cannot be done."""
        prompt, room = self._prompt(request, sampling), self._room(sampling)
        if isinstance(prompt, RowError):
            return prompt
        if refusal := self._refusal(len(prompt.tokens), room, sampling):
            return refusal
        mask = self._mask(request.constraint, sampling.stop)
        as_text = self.vocabulary.template is None and not self.vocabulary.encoder
        cue = self._lexicon if as_text and request.shots else None
        return WritingJob(ticket, prompt.tokens, request.seed, sampling, room, prompt.opened, mask, cue)

    @abstractmethod
    def _identify(self) -> ModelIdentity:
        """Compute `identity`."""

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the model is closed")

    def _mask(self, constraint: Constraint | None, stop: Sequence[str]) -> Mask | None:
        """Return a mask for one reply that ends at `stop`; None where nothing constrains it."""
        return portable_mask(constraint, self._lexicon, stop)

    def _prompt(self, request: Request, sampling: Sampling) -> TokenizedPrompt | RowError:
        """Return the tokens of a request's prompt, or why it cannot be read."""
        return self._read(replace(request, seed=0, constraint=None), sampling.thinking)

    def _tokenized(self, request: Request, thinking: Thinking) -> TokenizedPrompt | RowError:
        try:
            tokens = self.vocabulary.prompt_tokens(request, thinking)
        except RowError as error:
            return error
        opened = opened_by(self.vocabulary.prompt_text(request, thinking))
        return TokenizedPrompt(np.array(tokens, np.int32), opened)

    def _room(self, sampling: Sampling) -> int:
        return sampling.room(thinks(self.vocabulary.template, sampling.thinking))

    def _beside(self, room: int) -> int:
        """Return how many of the tokens to write share the context of the prompt; none where a decoder has its own."""
        return 0 if self.vocabulary.encoder else room

    def _refusal(self, prompt_tokens: int, room: int, sampling: Sampling) -> RowError | None:
        """Return why a prompt cannot be completed; None if it can."""
        if not prompt_tokens:
            return RowError("the prompt is empty, and the model has no token to begin with")
        if self._limit is None:
            return None
        if self.vocabulary.encoder and room > self._limit.tokens:
            return RowError(f"{room} tokens are more than the {self._limit.tokens} a decoder holds")
        beside = self._beside(room)
        too_long = prompt_tokens + beside > self._limit.tokens
        return self._limit.error(prompt_tokens, beside, sampling) if too_long else None
