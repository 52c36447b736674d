"""A GGUF file run by llama.cpp, as verification asks it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from lmcot_cli.backends.base import Request
from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.backends.sampling import Logits
from lmcot_cli.errors import ModelError
from lmcot_export.verify.subject import RATE_SEQUENCES, SpecialTokens

CHUNK = 128
"""Tokens decoded at once where all logits are wanted: 78 MB of them for a vocabulary of 152,000."""


class GgufSubject:
    """A GGUF file; see `Subject`.

    Logits come from a plain `llama_decode` of one sequence. The KV cache is float32, so that what is seen is the
    file's doing.

    Raises:
        ModelError: llama.cpp cannot load the file, or the chat template is not valid.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path, threads
        self._model = LlamaModel(path)
        self._vocabulary = LlamaVocabulary(self._model)
        self.type = _type(self._model)
        self.bytes = path.stat().st_size
        self.special = _special_tokens(self._model, self._vocabulary)

    def render(self, prompt: str) -> str:
        """Render a prompt; see `Subject.render`."""
        return self._vocabulary.prompt_text(Request(prompt, seed=0))

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Tokenize a prompt; see `Subject.prompt_tokens`."""
        return self._vocabulary.prompt_tokens(Request(prompt, seed=0))

    def text_tokens(self, text: str) -> list[int]:
        """Tokenize text; see `Subject.text_tokens`."""
        return self._vocabulary.encode_text(text)

    def logits(self, prompt: Sequence[int], written: Sequence[int]) -> Logits:
        """Compute the logits of a text; see `Subject.logits`.

        Raises:
            ModelError: llama.cpp could not compute them, or a token is not in the vocabulary.
        """
        tokens = [*prompt, *written]
        if max(tokens) >= self._vocabulary.size:
            raise ModelError(
                f"{self._path}: has {self._vocabulary.size} tokens, and none with id {max(tokens)}"
            )
        with self._context(len(tokens), sequences=1) as context, _batch(CHUNK) as batch:
            parts = [
                self._decode(
                    context,
                    batch,
                    [(token, at + start, 0) for at, token in enumerate(tokens[start:][:CHUNK])],
                )
                for start in range(0, len(tokens), CHUNK)
            ]
        return np.concatenate(parts)

    def rate(self, steps: int) -> float:
        """Measure the decoding rate; see `Subject.rate`."""
        sequences = range(RATE_SEQUENCES)
        with (
            self._context((steps + 1) * len(sequences), len(sequences)) as context,
            _batch(len(sequences)) as batch,
        ):
            self._decode(context, batch, [(number, 0, number) for number in sequences])
            begin = time.perf_counter()
            for step in range(steps):
                self._decode(context, batch, [(number, step + 1, number) for number in sequences])
            return steps * len(sequences) / (time.perf_counter() - begin)

    def close(self) -> None:
        """Free the model."""
        self._model.close()

    def _decode(self, context: Any, batch: Any, tokens: Sequence[tuple[int, int, int]]) -> Logits:
        """Decode (token, position, sequence) triples and return their logits, [tokens, vocabulary]."""
        for row, (token, position, sequence) in enumerate(tokens):
            batch.token[row], batch.pos[row], batch.n_seq_id[row] = token, position, 1
            batch.seq_id[row][0], batch.logits[row] = sequence, 1
        batch.n_tokens = len(tokens)
        forget_errors()
        if llama().llama_decode(context, batch) != 0:
            raise ModelError(f"{self._path}: llama.cpp could not decode a batch: {first_error()}")
        shape = (len(tokens), self._vocabulary.size)
        return np.ctypeslib.as_array(llama().llama_get_logits(context), shape).copy()

    @contextmanager
    def _context(self, tokens: int, sequences: int) -> Iterator[Any]:
        api = llama()
        params = api.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(tokens, CHUNK)
        params.n_seq_max, params.n_outputs_max = sequences, max(sequences, CHUNK)
        params.n_threads = params.n_threads_batch = self._threads
        params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.type_k = params.type_v = api.GGML_TYPE_F32
        params.kv_unified = params.swa_full = True
        forget_errors()
        context = api.llama_init_from_model(self._model.handle, params)
        if not context:
            raise ModelError(f"{self._path}: no memory for a context of {tokens} tokens: {first_error()}")
        try:
            yield context
        finally:
            api.llama_free(context)


@contextmanager
def _batch(capacity: int) -> Iterator[Any]:
    batch = llama().llama_batch_init(capacity, 0, 1)
    try:
        yield batch
    finally:
        llama().llama_batch_free(batch)


def _type(model: LlamaModel) -> str:
    """Name the type of most tensors as `--quantize` names it."""
    number = model.header.metadata.get("general.file_type")
    if number is None:
        return "unknown"
    name: str = gguf.LlamaFileType(int(number)).name
    return name.removeprefix("ALL_").removeprefix("MOSTLY_").lower()


def _special_tokens(model: LlamaModel, vocabulary: LlamaVocabulary) -> SpecialTokens:
    api = llama()
    handle = api.llama_model_get_vocab(model.handle)
    bos, eos = int(api.llama_vocab_bos(handle)), int(api.llama_vocab_eos(handle))
    return SpecialTokens(
        bos=bos if bos >= 0 else None,
        eos=eos if eos >= 0 else None,
        ends=vocabulary.ends,
        adds_bos=bool(api.llama_vocab_get_add_bos(handle)),
        adds_eos=bool(api.llama_vocab_get_add_eos(handle)),
        has_template=vocabulary.template is not None,
    )
