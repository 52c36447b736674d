"""The `Backend` of GGUF files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path

import numpy as np

from lmcot_cli.backends.base import BatchBackend, Completion, ModelIdentity, Request, Sampling
from lmcot_cli.backends.llama.chat import ChatTemplate
from lmcot_cli.backends.llama.context import LlamaContext
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.options import EngineOptions
from lmcot_cli.backends.llama.prefixes import Tokens
from lmcot_cli.backends.llama.scheduler import Engine, Scheduler, Work
from lmcot_cli.backends.llama.vocabulary import Vocabulary
from lmcot_cli.errors import PromptTooLongError, RowError


class LlamaBackend(BatchBackend):
    """A GGUF model, all of whose requests in one call are decoded together.

    Equal calls give equal completions, in this process or another on the same machine, whatever was asked
    before. Between different calls, the last bits of the logits depend on what else is in the batch.

    Args:
        path: The GGUF file.
        options: Settings of the engine.
        spec: What the user called the model; the path where not given.

    Attributes:
        work: What was decoded so far.
        context_tokens: Most tokens one request may take, prompt and completion together.

    Raises:
        UsageError: Layers for a GPU that this build of llama.cpp cannot use.
        ModelError: The file cannot be loaded, or there is not enough memory.
    """

    def __init__(self, path: Path, options: EngineOptions | None = None, spec: str | None = None) -> None:
        options = options or EngineOptions()
        super().__init__(options.parallel)
        self._spec = spec or str(path)
        self._path = path
        self.work = Work()
        with ExitStack() as opened:
            model = opened.enter_context(closing(LlamaModel(path, options.gpu_layers)))
            self._vocabulary = Vocabulary(model)
            self._template = self._chat_template(model)
            context = opened.enter_context(closing(LlamaContext(model, self._vocabulary.size, options)))
            self._opened = opened.pop_all()
        self._closed = False
        self._engine = Engine(context, self._vocabulary, options.parallel, self.work)
        self.context_tokens = context.request_tokens

    @cached_property
    def identity(self) -> ModelIdentity:
        """The spec, and the SHA-256 of the file (seconds for a large one, computed once)."""
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ModelIdentity(self._spec, f"sha256:{digest}")

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Write one completion a request, in the order of the requests; see `Backend.complete`.

        Raises:
            ModelError: The chat template does not work, or llama.cpp could not compute a batch.
            ValueError: The backend is closed, or no token is to be written.
        """
        if self._closed:
            raise ValueError("the model is closed")
        if sampling.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {sampling.max_tokens}")
        tokens = {prompt: self._encode(prompt) for prompt in dict.fromkeys(r.prompt for r in requests)}
        prompts = [tokens[request.prompt] for request in requests]
        results: list[Completion | RowError | None] = [self._refusal(prompt, sampling) for prompt in prompts]
        accepted = [index for index, refusal in enumerate(results) if refusal is None]
        scheduler = Scheduler(
            self._engine,
            prompts=[prompts[index] for index in accepted],
            seeds=[requests[index].seed for index in accepted],
            sampling=sampling,
        )
        for index, completion in zip(accepted, scheduler.run(), strict=True):
            results[index] = completion
        return [result for result in results if result is not None]

    def close(self) -> None:
        """Free the KV cache and the model; calling it twice does no harm."""
        self._closed = True
        self._opened.close()

    def _chat_template(self, model: LlamaModel) -> ChatTemplate | None:
        source = model.chat_template
        if source is None:
            return None
        return ChatTemplate(source, str(self._path), self._vocabulary.bos_text, self._vocabulary.eos_text)

    def _encode(self, prompt: str) -> Tokens:
        if self._template is None:
            return np.array(self._vocabulary.encode(prompt, parse_special=False), np.int32)
        return np.array(self._vocabulary.encode(self._template.render(prompt), parse_special=True), np.int32)

    def _refusal(self, prompt: Tokens, sampling: Sampling) -> RowError | None:
        """Say why a prompt cannot be completed; None if it can."""
        if len(prompt) == 0:
            return RowError("the prompt is empty, and the model has no token to begin with")
        if len(prompt) + sampling.max_tokens > self.context_tokens:
            return PromptTooLongError(len(prompt), sampling.max_tokens, self.context_tokens)
        return None
