"""The `Backend` of transformers models: decoder-only and encoder-decoder, with or without a LoRA adapter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

from lmcot_cli.backends.base import BatchBackend, Completion, ModelIdentity, Request, Sampling, Thinking
from lmcot_cli.backends.chat import thinks
from lmcot_cli.backends.engine_options import DEFAULT_PARALLEL, EngineOptions
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.masks.portable import PORTABLE, portable_mask
from lmcot_cli.backends.reply import prompt_too_long
from lmcot_cli.backends.thinking import Marks, opened_by
from lmcot_cli.backends.torch.checkpoint import SCHEME, Checkpoint, find
from lmcot_cli.backends.torch.loading import (
    OWN_CODE,
    check_installed,
    decoder_start,
    load_config,
    load_model,
    load_vocabulary,
    prepare_transformers,
    tokenizer_folder,
)
from lmcot_cli.backends.torch.sequences import DecoderSequences, EncoderDecoderSequences, Sequences
from lmcot_cli.backends.torch.template_file import try_template
from lmcot_cli.backends.torch.tokenizing import try_tokenizer
from lmcot_cli.backends.torch.writing import Prompt, write
from lmcot_cli.errors import ModelError, RowError


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

    @abstractmethod
    def _load(self, config: Any, options: EngineOptions) -> Any:
        """Load the model itself."""

    @cached_property
    def identity(self) -> ModelIdentity:
        """The spec, and one SHA-256 over the model's files (seconds for a large one, computed once)."""
        return ModelIdentity(self._spec, self._checkpoint.digest())

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Write one completion a request, in the order of the requests; see `Backend.complete`.

        Prompts of like length are put into one batch.

        Raises:
            ModelError: The chat template does not work, or there is not enough memory.
            ValueError: The backend is closed, or no token is to be written.
        """
        if self.model is None:
            raise ValueError("the model is closed")
        if sampling.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {sampling.max_tokens}")
        asked = [replace(request, seed=0, constraint=None) for request in requests]
        read = {request: self._read(request, sampling) for request in dict.fromkeys(asked)}
        prompts, opened = [read[request][0] for request in asked], [read[request][1] for request in asked]
        results: list[Completion | RowError | None] = [read[request][2] for request in asked]
        accepted = [index for index, refusal in enumerate(results) if refusal is None]
        accepted.sort(key=lambda index: (len(prompts[index]), prompts[index]))  # equal prompts stand together
        for start in range(0, len(accepted), self.window):
            batch = accepted[start : start + self.window]
            completions = self._write(
                [prompts[index] for index in batch],
                [requests[index] for index in batch],
                sampling,
                [opened[index] for index in batch],
            )
            for index, completion in zip(batch, completions, strict=True):
                results[index] = completion
        return [result for result in results if result is not None]

    def excess(self, request: Request, sampling: Sampling) -> int | None:
        """Count the tokens of a request that are too many; see `Backend.excess`."""
        if self.context_tokens is None:
            return None
        prompt, _ = self._prompt_of(replace(request, seed=0, constraint=None), sampling.thinking)
        return len(prompt) + self._written(sampling) - self.context_tokens

    def close(self) -> None:
        """Let go of the model; calling it twice does no harm."""
        self.model = None

    def begin(self, prompts: Sequence[Prompt]) -> Sequences:
        """Read prompts into a new KV cache."""
        if self.decoder_start is not None:
            return EncoderDecoderSequences(self.model, prompts, self.decoder_start)
        return DecoderSequences(self.model, prompts)

    def _prompt_of(self, request: Request, thinking: Thinking) -> tuple[Prompt, Marks | None]:
        """Return the tokens of a prompt, and the marks of the thought that it opens."""
        tokens = self.vocabulary.prompt_tokens(request, thinking)
        return tuple(tokens), opened_by(self.vocabulary.prompt_text(request, thinking))

    def _read(self, request: Request, sampling: Sampling) -> tuple[Prompt, Marks | None, RowError | None]:
        """Return the tokens of a prompt, the marks of its thought, and why it cannot be completed, if it can't."""
        try:
            prompt, opened = self._prompt_of(request, sampling.thinking)
        except RowError as error:
            return (), None, error
        return prompt, opened, self._refusal(prompt, sampling)

    def _room(self, sampling: Sampling) -> int:
        return sampling.room(thinks(self.vocabulary.template, sampling.thinking))

    def _write(
        self,
        prompts: Sequence[Prompt],
        requests: Sequence[Request],
        sampling: Sampling,
        opened: Sequence[Marks | None],
    ) -> list[Completion]:
        import torch

        seeds = [request.seed for request in requests]
        masks = [portable_mask(request.constraint, self._lexicon, sampling.stop) for request in requests]
        as_text = self.vocabulary.template is None and self.decoder_start is None
        cues = [self._lexicon if as_text and request.shots else None for request in requests]
        try:
            with torch.inference_mode():
                return write(
                    self.begin,
                    self.vocabulary,
                    prompts,
                    seeds,
                    masks,
                    cues,
                    sampling,
                    room=self._room(sampling),
                    opened=opened,
                )
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{self._spec}: no memory for {len(prompts)} sequences of {max(map(len, prompts))} prompt tokens"
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
