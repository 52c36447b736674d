"""The `Backend` of GGUF files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from time import monotonic

import numpy as np

from lmcot_cli.backends.base import (
    POLL_SECONDS,
    Completion,
    ModelIdentity,
    Reply,
    Request,
    Sampling,
    StreamBackend,
    Thinking,
)
from lmcot_cli.backends.chat import thinks
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.adapters import Adapter, load_adapter
from lmcot_cli.backends.llama.context import LlamaContext, TokenIds
from lmcot_cli.backends.llama.masks import Masks
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.scheduler import Scheduler, SequenceJob, Work
from lmcot_cli.backends.llama.vocabulary import Vocabulary
from lmcot_cli.backends.llama.width import best_width
from lmcot_cli.backends.reply import prompt_too_long
from lmcot_cli.backends.thinking import Marks, opened_by
from lmcot_cli.errors import RowError
from lmcot_cli.model_files.digests import files_digest

ENCODED_PROMPTS = 256
"""Prompts whose tokens are remembered: the samples of a row come in one after another."""


class LlamaBackend(StreamBackend):
    """A GGUF model, all of whose requests are decoded together.

    Equal calls of `complete` give equal completions, in this process or another on the same machine, whatever
    was asked before. Where requests are handed in one by one, the last bits of the logits depend on what else
    is in the batch.

    Args:
        path: The GGUF file.
        options: Settings of the engine.
        spec: What the user called the model; the path where not given.
        adapters: LoRA adapters to add.

    Attributes:
        window: Requests that fill the batch.
        context_tokens: Most tokens one request may take, prompt and completion together.

    Raises:
        UsageError: Settings that this model or this build of llama.cpp cannot work with.
        ModelError: The file cannot be loaded, or there is not enough memory.
    """

    constraints = Masks.kinds

    def __init__(
        self,
        path: Path,
        options: EngineOptions | None = None,
        spec: str | None = None,
        adapters: Sequence[Adapter] = (),
    ) -> None:
        options = options or EngineOptions()
        self._spec = spec or str(path)
        self._adapters = adapters
        with ExitStack() as opened:
            model = opened.enter_context(closing(LlamaModel(path, options.gpu_layers)))
            self._files = model.files
            self._vocabulary = Vocabulary(model)
            self._masks = Masks(self._vocabulary)
            self.window = options.parallel or best_width(model, self._vocabulary.size, options)
            context = opened.enter_context(
                closing(LlamaContext(model, self._vocabulary.size, options, self.window))
            )
            if adapters:
                handles = [load_adapter(model, adapter) for adapter in adapters]
                context.add_adapters(handles, [adapter.scale for adapter in adapters])
            self._scheduler = opened.enter_context(
                closing(Scheduler(context, self._vocabulary, self.window, options.threads))
            )
            self._opened = opened.pop_all()
        self._closed = False
        self._refused: list[Reply] = []
        self._encode = lru_cache(ENCODED_PROMPTS)(self._prompt_of)
        self._room = context.room
        self.context_tokens = context.room.request_tokens

    @property
    def work(self) -> Work:
        """What was decoded so far."""
        return self._scheduler.work

    @property
    def pending(self) -> int:
        """Requests handed in whose replies have not been picked up."""
        return self._scheduler.unfinished + len(self._scheduler.done) + len(self._refused)

    @cached_property
    def identity(self) -> ModelIdentity:
        """The spec, and the SHA-256 of its files, adapters included (seconds for a large one, computed once)."""
        spec = " + ".join([self._spec, *(adapter.label for adapter in self._adapters)])
        digests = [files_digest(self._files), *(adapter.digest() for adapter in self._adapters)]
        return ModelIdentity(spec, " + ".join(digests))

    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        """Hand in a request; see `Backend.submit`.

        Raises:
            ModelError: The chat template does not work.
            UsageError: The schema that constrains the reply is one that llama.cpp cannot follow.
            ValueError: The backend is closed, or no token is to be written.
        """
        if self._closed:
            raise ValueError("the model is closed")
        if sampling.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {sampling.max_tokens}")
        tokens, opened = self._encode(replace(request, seed=0, constraint=None), sampling.thinking)
        room = self._room_for(sampling)
        refusal = self._refusal(tokens, sampling, room)
        if refusal:
            self._refused.append((ticket, refusal))
        else:
            mask = self._masks.mask(request.constraint, sampling.stop)
            as_text = self._vocabulary.template is None and bool(request.shots)
            cue = self._masks.lexicon if as_text else None
            self._scheduler.submit(
                SequenceJob(ticket, tokens, request.seed, sampling, room, opened, mask, cue)
            )

    def excess(self, request: Request, sampling: Sampling) -> int:
        """Count the tokens of a request that are too many; see `Backend.excess`."""
        tokens, _ = self._encode(replace(request, seed=0, constraint=None), sampling.thinking)
        return len(tokens) + self._room_for(sampling) - self.context_tokens

    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Return the replies that have come; see `Backend.poll`.

        Raises:
            ModelError: llama.cpp could not compute a batch.
        """
        until = monotonic() + POLL_SECONDS
        while wait and not self._refused and not self._scheduler.done and self._scheduler.unfinished:
            self._scheduler.step()
            if monotonic() > until:
                break
        replies = [*self._refused, *self._scheduler.done]
        self._refused.clear()
        self._scheduler.done.clear()
        return replies

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop pending requests; see `Backend.cancel`."""
        self._refused = [one for one in self._refused if one[0] not in tickets]
        self._scheduler.cancel(tickets)

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Write one completion a request; what was asked before does not matter. See `Backend.complete`."""
        if requests:
            self.reset()
        return super().complete(requests, sampling)

    def reset(self) -> None:
        """Forget the prompts of earlier requests; see `Backend.reset`.

        Raises:
            ValueError: Requests are pending, or the backend is closed.
        """
        if self._closed:
            raise ValueError("the model is closed")
        if self.pending:
            raise ValueError(f"{self.pending} requests are pending")
        self._scheduler.reset()

    def close(self) -> None:
        """Free the KV cache and the model; calling it twice does no harm."""
        self._closed = True
        self._opened.close()

    def _prompt_of(self, request: Request, thinking: Thinking) -> tuple[TokenIds, Marks | None]:
        """Return the tokens of a prompt, and the marks of the thought that it opens."""
        tokens = self._vocabulary.prompt_tokens(request, thinking)
        return np.array(tokens, np.int32), opened_by(self._vocabulary.prompt_text(request, thinking))

    def _room_for(self, sampling: Sampling) -> int:
        return sampling.room(thinks(self._vocabulary.template, sampling.thinking))

    def _refusal(self, prompt: TokenIds, sampling: Sampling, room: int) -> RowError | None:
        """Say why a prompt cannot be completed; None if it can."""
        if len(prompt) == 0:
            return RowError("the prompt is empty, and the model has no token to begin with")
        if len(prompt) + room > self.context_tokens:
            kv = self._room
            advice = kv.advice_for(len(prompt) + room)
            return prompt_too_long(len(prompt), room, kv.request_tokens, sampling, kv.limit, advice)
        return None
