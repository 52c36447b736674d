"""The `Backend` of transformers models: decoder-only and encoder-decoder, with or without a LoRA adapter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

from lmcot_cli.backends.base import (
    POLL_SECONDS,
    BatchBackend,
    Completion,
    ModelIdentity,
    Reply,
    Request,
    Sampling,
    Thinking,
)
from lmcot_cli.backends.chat import thinks
from lmcot_cli.backends.engine_options import DEFAULT_PARALLEL, EngineOptions
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.masks.portable import PORTABLE, portable_mask
from lmcot_cli.backends.reply import prompt_too_long
from lmcot_cli.backends.thinking import Marks, opened_by
from lmcot_cli.backends.torch.checkpoint import SCHEME, Checkpoint, find
from lmcot_cli.backends.torch.library import OWN_CODE, check_installed, prepare_transformers
from lmcot_cli.backends.torch.loading import (
    decoder_start,
    load_config,
    load_model,
    load_vocabulary,
    tokenizer_folder,
)
from lmcot_cli.backends.torch.sequences import DecoderSequences, EncoderDecoderSequences, Sequences
from lmcot_cli.backends.torch.template_file import try_template
from lmcot_cli.backends.torch.tokenizing import try_tokenizer
from lmcot_cli.backends.torch.writing import BatchWriting, Prompt
from lmcot_cli.errors import ModelError, RowError


@dataclass(frozen=True, slots=True)
class _ReadPrompt:
    """Requests as the model reads them.

    Attributes:
        prompts: Token ids of each.
        opened: The marks of the thought that each prompt opens.
        refused: Why some cannot be completed, by their places.
        accepted: The places of the others, prompts of like length together.
    """

    prompts: list[Prompt]
    opened: list[Marks | None]
    refused: dict[int, RowError]
    accepted: list[int]


class FolderBackend(BatchBackend):
    """A model with the forward call of transformers; whatever it is, its completions are written alike.

    A completion depends on its prompt and seed alone, but for the last bits of the logits, which depend on what
    else is in the batch too. Equal calls give equal completions on one machine.

    Args:
        checkpoint: The folders.
        options: Settings of the engine; those of the KV cache and of llama.cpp's GPU layers play no part.
        spec: What the user called the model.

    Attributes:
        vocabulary: The tokenizer.
        model: What transformers or optimum loaded; None once closed.
        context_tokens: Most tokens a request may take, prompt and completion together; for an encoder-decoder
            model, each of the two. None where the model sets no bound.
        decoder_start: The token that an encoder-decoder model's completions begin with; None for other models.

    Raises:
        MissingExtraError: A package of the extra is not installed.
        UsageError: A device that is not there.
        ModelError: The model cannot be loaded.
    """

    constraints = PORTABLE

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions, spec: str) -> None:
        super().__init__(options.parallel or DEFAULT_PARALLEL)
        self._spec, self._checkpoint = spec, checkpoint
        config = load_config(checkpoint, options)
        self.decoder_start = decoder_start(checkpoint.base, config) if config.is_encoder_decoder else None
        self.vocabulary = load_vocabulary(checkpoint, config, options)
        self._lexicon = Lexicon(self.vocabulary, len(self.vocabulary.tokenizer))
        self._stated = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
        bounds = [bound for bound in (options.n_ctx, self._stated) if bound]
        self.context_tokens = min(bounds, default=None)
        self.model: Any = self._load(config, options)
        self._batch: BatchWriting | None = None
        self._present, self._sampling = _ReadPrompt([], [], {}, []), Sampling()
        self._at_work: dict[int, int] = {}
        self._replies: list[Reply] = []

    @abstractmethod
    def _load(self, config: Any, options: EngineOptions) -> Any:
        """Load the model itself."""

    @cached_property
    def identity(self) -> ModelIdentity:
        """The spec, and one SHA-256 over the model's files (seconds for a large one, computed once)."""
        return ModelIdentity(self._spec, self._checkpoint.digest())

    @property
    def pending(self) -> int:
        """Requests handed in whose replies have not been picked up."""
        return super().pending + len(self._at_work) + len(self._replies)

    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Write on the present batch, or begin one: the first `window` requests that are sampled alike.

        Raises:
            ModelError: The chat template does not work, or there is not enough memory.
        """
        until = monotonic() + POLL_SECONDS
        while wait and not self._replies and self.pending:
            self._step()
            if monotonic() > until:
                break
        replies, self._replies = self._replies, []
        return replies

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop pending requests; see `Backend.cancel`."""
        super().cancel(tickets)
        self._replies = [one for one in self._replies if one[0] not in tickets]
        dropped = {place for place, ticket in self._at_work.items() if ticket in tickets}
        if self._batch and dropped:
            self._batch.drop(dropped)
        self._at_work = {place: one for place, one in self._at_work.items() if place not in dropped}

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Write one completion a request, in the order of the requests; see `Backend.complete`.

        Prompts of like length are put into one batch.

        Raises:
            ModelError: The chat template does not work, or there is not enough memory.
            ValueError: The backend is closed, or no token is to be written.
        """
        read = self._read(requests, sampling)
        results: dict[int, Completion | RowError] = dict(read.refused)
        for start in range(0, len(read.accepted), self.window):
            places = read.accepted[start : start + self.window]
            with self._memory_explained(read, places, sampling):
                batch = self._begin_batch(requests, sampling, read, places)
                while batch.at_work:
                    results |= {places[place]: done for place, done in batch.step().items()}
        return [results[place] for place in range(len(requests))]

    def _step(self) -> None:
        """Bring the present batch one token on, or begin the next one."""
        if self._batch is None or not self._batch.at_work:
            self._next_batch()
            return
        with self._memory_explained(self._present, list(self._at_work), self._sampling):
            done = self._batch.step()
        self._replies += [(self._at_work.pop(place), completion) for place, completion in done.items()]

    def _next_batch(self) -> None:
        sampling = self._handed_in[0][2]
        taken = [one for one in self._handed_in if one[2] == sampling][: self.window]
        tickets = [ticket for ticket, _, _ in taken]
        requests = [request for _, request, _ in taken]
        read = self._read(requests, sampling)
        if read.accepted:
            with self._memory_explained(read, read.accepted, sampling):
                self._batch = self._begin_batch(requests, sampling, read, read.accepted)
        self._present, self._sampling = read, sampling
        self._at_work = dict(enumerate(tickets[place] for place in read.accepted))
        self._replies += [(tickets[place], refusal) for place, refusal in read.refused.items()]
        super().cancel(tickets)

    def excess(self, request: Request, sampling: Sampling) -> int | None:
        """Count the tokens of a request that are too many; see `Backend.excess`."""
        if self.context_tokens is None:
            return None
        prompt, _ = self._prompt_of(replace(request, seed=0, constraint=None), sampling.thinking)
        return len(prompt) + self._written(sampling) - self.context_tokens

    def close(self) -> None:
        """Let go of the model; calling it twice does no harm."""
        self.model = self._batch = None

    def begin(self, prompts: Sequence[Prompt]) -> Sequences:
        """Read prompts into a new KV cache."""
        if self.decoder_start is not None:
            return EncoderDecoderSequences(self.model, prompts, self.decoder_start)
        return DecoderSequences(self.model, prompts)

    def _prompt_of(self, request: Request, thinking: Thinking) -> tuple[Prompt, Marks | None]:
        """Return the tokens of a prompt, and the marks of the thought that it opens."""
        tokens = self.vocabulary.prompt_tokens(request, thinking)
        return tuple(tokens), opened_by(self.vocabulary.prompt_text(request, thinking))

    def _read_one(self, request: Request, sampling: Sampling) -> tuple[Prompt, Marks | None, RowError | None]:
        """Return the tokens of a prompt, the marks of its thought, and why it cannot be completed, if it can't."""
        try:
            prompt, opened = self._prompt_of(request, sampling.thinking)
        except RowError as error:
            return (), None, error
        return prompt, opened, self._refusal(prompt, sampling)

    def _room(self, sampling: Sampling) -> int:
        return sampling.room(thinks(self.vocabulary.template, sampling.thinking))

    def _read(self, requests: Sequence[Request], sampling: Sampling) -> _ReadPrompt:
        """Read prompts.

        Raises:
            ModelError: The chat template does not work.
            ValueError: The backend is closed, or no token is to be written.
        """
        if self.model is None:
            raise ValueError("the model is closed")
        if sampling.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {sampling.max_tokens}")
        asked = [replace(request, seed=0, constraint=None) for request in requests]
        known = {request: self._read_one(request, sampling) for request in dict.fromkeys(asked)}
        prompts, opened = [known[one][0] for one in asked], [known[one][1] for one in asked]
        refused = {place: refusal for place, one in enumerate(asked) if (refusal := known[one][2])}
        accepted = [place for place in range(len(prompts)) if place not in refused]
        accepted.sort(key=lambda place: (len(prompts[place]), prompts[place]))  # equal prompts stand together
        return _ReadPrompt(prompts, opened, refused, accepted)

    def _begin_batch(
        self, requests: Sequence[Request], sampling: Sampling, read: _ReadPrompt, places: Sequence[int]
    ) -> BatchWriting:
        """Read the prompts of a batch into a KV cache."""
        asked = [requests[place] for place in places]
        as_text = self.vocabulary.template is None and self.decoder_start is None
        return BatchWriting(
            self.begin,
            self.vocabulary,
            [read.prompts[place] for place in places],
            [request.seed for request in asked],
            [portable_mask(request.constraint, self._lexicon, sampling.stop) for request in asked],
            [self._lexicon if as_text and request.shots else None for request in asked],
            sampling,
            room=self._room(sampling),
            opened=[read.opened[place] for place in places],
        )

    @contextmanager
    def _memory_explained(
        self, read: _ReadPrompt, places: Sequence[int], sampling: Sampling
    ) -> Iterator[None]:
        """Compute without gradients; say in one line that there is not enough memory.

        Raises:
            ModelError: There is not.
        """
        import torch

        try:
            with torch.inference_mode():
                yield
        except torch.OutOfMemoryError as error:
            longest = max(len(prompt) for prompt in read.prompts)
            raise ModelError(
                f"{self._spec}: no memory for {len(places)} sequences of {longest} prompt tokens"
                f" + {self._room(sampling)}; try a smaller --parallel"
            ) from error

    def _refusal(self, prompt: Prompt, sampling: Sampling) -> RowError | None:
        """Say why a prompt cannot be completed; None if it can."""
        if not prompt:
            return RowError("the prompt is empty, and the model has no token to begin with")
        if self.context_tokens is None:
            return None
        encoder, room = self.decoder_start is not None, self._room(sampling)
        if encoder and room > self.context_tokens:
            return RowError(f"{room} tokens are more than the {self.context_tokens} a decoder holds")
        if len(prompt) + self._written(sampling) > self.context_tokens:
            return self._too_long(len(prompt), self._written(sampling), sampling)
        return None

    def _written(self, sampling: Sampling) -> int:
        """Return how many tokens to write share the context with the prompt: a decoder of its own has its own."""
        return 0 if self.decoder_start is not None else self._room(sampling)

    def _too_long(self, prompt_tokens: int, written: int, sampling: Sampling) -> RowError:
        """Say by how much a prompt is too long, and where more room is to be had."""
        assert self.context_tokens is not None
        model = self._stated or inf
        if self.context_tokens == model:
            return prompt_too_long(prompt_tokens, written, self.context_tokens, sampling)
        own = f"the model's own context is {model}" if self._stated else "the model names no bound"
        enough = prompt_tokens + written <= model
        advice = (
            f"raise --n-ctx ({own})" if enough else f"{own}, too little as well: shorten the row's context"
        )
        return prompt_too_long(prompt_tokens, written, self.context_tokens, sampling, "the --n-ctx", advice)


class TransformersBackend(FolderBackend):
    """A checkpoint run by torch.

    Args:
        path: A folder, a hub id, or either with `+ADAPTER` behind it; see `checkpoint.find`.
        options: Settings of the engine.
        spec: What the user called the model; `transformers:PATH` where not given.
    """

    def __init__(self, path: Path, options: EngineOptions | None = None, spec: str | None = None) -> None:
        options = options or EngineOptions()
        check_installed()
        checkpoint = find(str(path), remote_code=options.trust_remote_code)
        checkpoint.check(None if options.trust_remote_code else OWN_CODE)
        try_template(tokenizer_folder(checkpoint))
        try_tokenizer(tokenizer_folder(checkpoint))
        prepare_transformers(options.threads)
        super().__init__(checkpoint, options, spec or f"{SCHEME}{path}")

    def _load(self, config: Any, options: EngineOptions) -> Any:
        return load_model(self._checkpoint, config, options)
