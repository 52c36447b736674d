"""A GGUF file loaded by llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmcot_cli.backends.llama.header_checks import check_shape
from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.backends.llama.memory_shape import MemoryKind, MemoryShape
from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.fence.process import warm_up
from lmcot_cli.interrupts import held, interrupted
from lmcot_cli.model_files.gguf_parts import read_parts


class LlamaModel:
    """The weights and metadata of a GGUF file.

    Attributes:
        path: The file.
        files: The file, and the other parts of a split model.
        header: The metadata, and the tensors of all parts.
        handle: llama.cpp's `llama_model *`; None once closed.

    Raises:
        UsageError: Layers for a GPU that this build of llama.cpp cannot use.
        ModelError: The file is missing, not a GGUF file, damaged, too large for the memory, or holds a model that
            does not write text from left to right.
    """

    def __init__(self, path: Path, gpu_layers: int = 0) -> None:
        self.path = path
        self.files, self.header = read_parts(path)
        check_shape(path, self.header)
        if self.header.chat_template:
            warm_up()  # while the weights load, which takes longer
        self.handle = self._load(gpu_layers)
        try:
            self._check_kind()
        except ModelError:
            self.close()
            raise

    @property
    def trained_context(self) -> int:
        """Tokens of context that the model was trained with."""
        return int(llama().llama_model_n_ctx_train(self.handle))

    @property
    def memory_shape(self) -> MemoryShape:
        """What the model keeps of a text."""
        return MemoryShape.of(self.header)

    @property
    def memory_kind(self) -> MemoryKind:
        """How the model remembers a text, according to llama.cpp."""
        api = llama()
        if api.llama_model_is_hybrid(self.handle):
            return "hybrid"
        if api.llama_model_is_recurrent(self.handle):
            return "recurrent"
        return "window" if api.llama_model_n_swa(self.handle) > 0 else "attention"

    def close(self) -> None:
        """Free the weights; a second call has no effect."""
        if self.handle:
            llama().llama_model_free(self.handle)
            self.handle = None

    def _load(self, gpu_layers: int) -> Any:
        api = llama()
        forget_errors()
        if gpu_layers != 0 and not api.llama_supports_gpu_offload():
            raise UsageError(
                f"--gpu-layers {gpu_layers}: this llama-cpp-python was built without GPU support;"
                " leave the option out, or install a build for your GPU"
            )
        params = api.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.progress_callback = going_on = api.llama_progress_callback(lambda _, __: not interrupted())
        with held():  # what is raised in a callback is lost
            handle = api.llama_model_load_from_file(str(self.path).encode(), params)
        del going_on
        if not handle:
            raise ModelError(f"{self.path}: llama.cpp cannot load it: {first_error()}")
        return handle

    def _check_kind(self) -> None:
        api = llama()
        kinds = {
            "an encoder-decoder or encoder model": api.llama_model_has_encoder(self.handle),
            "an embedding model": self.header.setting("attention.causal") is False,
            "a diffusion model": api.llama_model_is_diffusion(self.handle),
        }
        for kind in (kind for kind, holds in kinds.items() if holds):
            raise ModelError(
                f"{self.path}: is {kind}; name a GGUF of a decoder-only language model, which writes text"
            )
