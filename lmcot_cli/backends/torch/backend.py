"""The `Backend` of transformers models: decoder-only and encoder-decoder, with or without a LoRA adapter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmcot_cli.backends.base import ModelIdentity
from lmcot_cli.backends.context_limit import ContextLimit
from lmcot_cli.backends.engine_options import DEFAULT_PARALLEL, EngineOptions
from lmcot_cli.backends.local import LocalBackend
from lmcot_cli.backends.masks.portable import PORTABLE
from lmcot_cli.backends.torch.checkpoint import SCHEME, Checkpoint, find
from lmcot_cli.backends.torch.library import OWN_CODE, check_installed, prepare_transformers
from lmcot_cli.backends.torch.loading import (
    decoder_start,
    load_config,
    load_model,
    load_vocabulary,
    tokenizer_folder,
)
from lmcot_cli.backends.torch.scheduler import BatchScheduler
from lmcot_cli.backends.torch.sequences import DecoderSequences, EncoderDecoderSequences, Sequences
from lmcot_cli.backends.torch.template_file import try_template
from lmcot_cli.backends.torch.tokenizing import try_tokenizer
from lmcot_cli.backends.torch.vocabulary import TokenizerVocabulary


class FolderBackend(LocalBackend):
    """A model with the forward call of transformers, whichever library runs it.

    A completion depends only on its prompt and seed, except for the last bits of the logits, which depend on what else
    is in the batch. Equal calls give equal completions on one machine.

    Args:
        checkpoint: The folders.
        options: Settings of the engine; those of the KV cache and of llama.cpp's GPU layers are ignored.
        spec: What the user called the model.
        extra: The optional extra that installs what the model needs.

    Attributes:
        model: The model of transformers or optimum; None once closed.
        decoder_start: The token that an encoder-decoder model's completions begin with; None for other models.

    Raises:
        MissingExtraError: A package of the extra is not installed.
        UsageError: The device does not exist.
        ModelError: The model cannot be loaded.
    """

    constraints = PORTABLE
    vocabulary: TokenizerVocabulary

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions, spec: str, extra: str) -> None:
        checkpoint.check(None if options.trust_remote_code else OWN_CODE)
        try_template(tokenizer_folder(checkpoint))
        try_tokenizer(tokenizer_folder(checkpoint))
        prepare_transformers(options.threads, extra)
        self._spec, self._checkpoint = spec, checkpoint
        config = load_config(checkpoint, options)
        self.decoder_start = decoder_start(checkpoint.base, config) if config.is_encoder_decoder else None
        vocabulary = load_vocabulary(checkpoint, config, options)
        self.model: Any = self._load(config, options)
        window = options.parallel or DEFAULT_PARALLEL
        scheduler = BatchScheduler(self.begin, vocabulary, window, spec)
        super().__init__(vocabulary, scheduler, window, _limit(config, options.n_ctx))

    @abstractmethod
    def _load(self, config: Any, options: EngineOptions) -> Any:
        """Load the model itself."""

    def _identify(self) -> ModelIdentity:
        return ModelIdentity(self._spec, self._checkpoint.digest())

    def close(self) -> None:
        """Free the model; a second call has no effect."""
        super().close()
        self.model = None

    def begin(self, prompts: Sequence[Sequence[int]]) -> Sequences:
        """Read prompts into a new KV cache."""
        if self.decoder_start is not None:
            return EncoderDecoderSequences(self.model, prompts, self.decoder_start)
        return DecoderSequences(self.model, prompts)


class TransformersBackend(FolderBackend):
    """A checkpoint run by torch.

    Args:
        path: A folder or a hub id, either with an optional `+ADAPTER`; see `checkpoint.find`.
        options: Settings of the engine.
        spec: What the user called the model; by default `transformers:PATH`.
    """

    def __init__(self, path: Path, options: EngineOptions | None = None, spec: str | None = None) -> None:
        options = options or EngineOptions()
        check_installed()
        checkpoint = find(str(path), remote_code=options.trust_remote_code)
        super().__init__(checkpoint, options, spec or f"{SCHEME}{path}", "train")

    def _load(self, config: Any, options: EngineOptions) -> Any:
        return load_model(self._checkpoint, config, options)


def _limit(config: Any, n_ctx: int | None) -> ContextLimit | None:
    """Return the tokens that a request may take; None where neither the model nor the user sets a limit."""
    own = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    if n_ctx is None or (own and own <= n_ctx):
        return ContextLimit(own) if own else None
    stated = f"the model's own context is {own}" if own else "the model names no bound"
    return ContextLimit(n_ctx, "the --n-ctx", f"raise --n-ctx ({stated})", own)
