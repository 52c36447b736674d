"""A GGUF file loaded by llama.cpp."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from lmcot_cli.backends.llama.gguf_header import MAGIC
from lmcot_cli.backends.llama.header_checks import check_shape
from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.backends.llama.memory_shape import MemoryKind, MemoryShape
from lmcot_cli.backends.llama.parts import read_parts
from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.fence.process import warm_up
from lmcot_cli.interrupts import held, interrupted

METADATA_BYTES = 1024  # numbers and names; chat templates have an accessor of their own


class LlamaModel:
    """The weights and metadata of one GGUF file.

    Attributes:
        path: The file.
        files: It, and the other parts of a model that was split.
        handle: llama.cpp's `llama_model *`; None once closed.
        memory_shape: What it keeps of a text.

    Raises:
        UsageError: Layers for a GPU that this build of llama.cpp cannot use.
        ModelError: The file is missing, not a GGUF, damaged, too big for the memory, or holds a model that
            does not write text from left to right.
    """

    def __init__(self, path: Path, gpu_layers: int = 0) -> None:
        check_path(path)
        self.path = path
        self.files, header = read_parts(path)
        check_shape(path, header)
        self.memory_shape = MemoryShape.of(header)
        if header.chat_template:
            warm_up()  # beside the weights, which take longer
        self.handle = self._load(gpu_layers)
        try:
            self._check_kind()
        except ModelError:
            self.close()
            raise

    @property
    def trained_context(self) -> int:
        """Tokens of context the model was trained with."""
        return int(llama().llama_model_n_ctx_train(self.handle))

    @property
    def chat_template(self) -> str | None:
        """The Jinja2 chat template embedded in the file."""
        template = llama().llama_model_chat_template(self.handle, None)
        return template.decode("utf-8", errors="replace") if template else None

    @property
    def memory_kind(self) -> MemoryKind:
        """What it remembers a text by, as llama.cpp sees it."""
        api = llama()
        if api.llama_model_is_hybrid(self.handle):
            return "hybrid"
        if api.llama_model_is_recurrent(self.handle):
            return "recurrent"
        return "window" if api.llama_model_n_swa(self.handle) > 0 else "attention"

    def metadata(self, key: str) -> str | None:
        """Return a metadata value as llama.cpp prints it; None where the file has no such key."""
        buffer = ctypes.create_string_buffer(METADATA_BYTES)
        length = llama().llama_model_meta_val_str(self.handle, key.encode(), buffer, METADATA_BYTES)
        return buffer.value.decode("utf-8", errors="replace") if length >= 0 else None

    def architecture_value(self, key: str) -> str | None:
        """Return the value of `ARCHITECTURE.key`, where the file has one (`llama.context_length`, say)."""
        return self.metadata(f"{self.metadata('general.architecture')}.{key}")

    def close(self) -> None:
        """Free the weights; calling it twice does no harm."""
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
        if api.llama_model_has_encoder(self.handle):
            self._refuse("an encoder-decoder or encoder model")
        if self.architecture_value("attention.causal") == "false":
            self._refuse("an embedding model")
        if api.llama_model_is_diffusion(self.handle):
            self._refuse("a diffusion model")

    def _refuse(self, kind: str) -> None:
        raise ModelError(
            f"{self.path}: is {kind}; name a GGUF of a decoder-only language model, which writes text"
        )


def check_path(path: Path) -> None:
    """Name the everyday mistakes in our own words, before llama.cpp sees the file.

    Raises:
        ModelError: There is no GGUF file there.
    """
    if path.is_dir():
        raise ModelError(f"{path}: is a folder; name the .gguf file in it")
    if not path.exists():
        raise ModelError(f"{path}: no such model file; check the path, or see `lmcot models list`")
    if not path.is_file():  # a pipe would be waited for
        raise ModelError(f"{path}: is no file, but a pipe or a device; name a .gguf model")
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if start != MAGIC:
        raise ModelError(f"{path}: is not a GGUF file (it does not start with {MAGIC!r}); name a .gguf model")
