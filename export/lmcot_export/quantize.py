"""Quantize a GGUF file with llama.cpp's own routine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import llama_cpp

from lmcot_cli.backends.llama.library import llama
from lmcot_cli.errors import ModelError

QuantizationType = Literal["f16", "q8_0", "q4_0"]
_FILE_TYPES: dict[QuantizationType, int] = {
    "f16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
    "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
}


def quantize(source: Path, target: Path, type: QuantizationType) -> Path:
    """Write `source` (float32 or float16 GGUF) to `target` in another type, and return `target`.

    Raises:
        ModelError: llama.cpp cannot quantize the file.
    """
    api = llama()  # the same library, its log silenced
    parameters = api.llama_model_quantize_default_params()
    parameters.ftype = _FILE_TYPES[type]
    if api.llama_model_quantize(str(source).encode(), str(target).encode(), parameters) != 0:
        raise ModelError(f"{source}: llama.cpp cannot quantize it to {type}")
    return target
