"""The `Backend` of GGUF files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import lru_cache
from pathlib import Path

from lmcot_cli.backends.base import ModelIdentity
from lmcot_cli.backends.constraint import Constraint, JsonSchema, Span
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.adapters import Adapter, load_adapter
from lmcot_cli.backends.llama.context import LlamaContext
from lmcot_cli.backends.llama.masks import Grammar, GrammarMask
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.scheduler import LlamaScheduler, Work
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.backends.llama.width import best_width
from lmcot_cli.backends.local import LocalBackend
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.masks.portable import PORTABLE
from lmcot_cli.model_files.digests import files_digest


class LlamaBackend(LocalBackend):
    """A GGUF model, all of whose requests are decoded together.

    Equal calls of `complete` give equal completions, in this process or another on the same machine, whatever was
    asked before. Where requests are submitted one by one, the last bits of the logits depend on what else is in the
    batch.

    Args:
        path: The GGUF file.
        options: Settings of the engine.
        spec: What the user called the model; by default the path.
        adapters: LoRA adapters to add.

    Raises:
        UsageError: Settings that this model or this build of llama.cpp cannot work with.
        ModelError: The file cannot be loaded, or there is not enough memory.
    """

    constraints = PORTABLE | {JsonSchema}
    _scheduler: LlamaScheduler

    def __init__(
        self,
        path: Path,
        options: EngineOptions | None = None,
        spec: str | None = None,
        adapters: Sequence[Adapter] = (),
    ) -> None:
        options = options or EngineOptions()
        self._spec, self._adapters = spec or str(path), adapters
        with ExitStack() as opened:
            model = opened.enter_context(closing(LlamaModel(path, options.gpu_layers)))
            self._files = model.files
            vocabulary = LlamaVocabulary(model)
            width = options.parallel or best_width(model, vocabulary.size, options)
            context = opened.enter_context(closing(LlamaContext(model, vocabulary.size, options, width)))
            if adapters:
                handles = [load_adapter(model, adapter) for adapter in adapters]
                context.add_adapters(handles, [adapter.scale for adapter in adapters])
            scheduler = LlamaScheduler(context, vocabulary, width, options.threads)
            self._opened = opened.pop_all()
        super().__init__(vocabulary, scheduler, width, context.room.limit)
        self._grammar = lru_cache(64)(lambda constraint: Grammar.of(constraint, vocabulary))

    @property
    def work(self) -> Work:
        """What was decoded so far."""
        return self._scheduler.work

    def _identify(self) -> ModelIdentity:
        spec = " + ".join([self._spec, *(adapter.label for adapter in self._adapters)])
        digests = [files_digest(self._files), *(adapter.digest() for adapter in self._adapters)]
        return ModelIdentity(spec, " + ".join(digests))

    def close(self) -> None:
        """Free the KV cache and the model; a second call has no effect."""
        super().close()
        self._opened.close()

    def _mask(self, constraint: Constraint | None, stop: Sequence[str]) -> Mask | None:
        """Return a mask for one reply; see `LocalBackend._mask`. What is not copied goes by llama.cpp's own sampler."""
        if constraint is None or isinstance(constraint, Span):
            return super()._mask(constraint, stop)
        return GrammarMask(self._grammar(constraint).clone(), self._lexicon, constraint)
