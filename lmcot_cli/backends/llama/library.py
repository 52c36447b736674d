"""Start llama.cpp once per process, keep its log off the terminal, and remember its errors."""

from __future__ import annotations

import os
from collections import deque
from functools import cache
from typing import Any

from lmcot_cli.backends.llama.weight_layouts import avoid_broken_layouts

ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR

_errors: deque[str] = deque(maxlen=8)
_kept_callbacks: list[Any] = []  # llama.cpp keeps a bare pointer; without this reference it would dangle


@cache
def llama() -> Any:
    """Return the module llama_cpp, with its log silenced and its backends started."""
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # otherwise an abort runs gdb and prints pages to stdout
    import llama_cpp

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def remember_errors(level: int, text: bytes, _: Any) -> None:
        if level == ERROR_LEVEL:
            _errors.append(text.decode("utf-8", errors="replace").strip())

    _kept_callbacks.append(remember_errors)
    llama_cpp.llama_log_set(remember_errors, None)
    llama_cpp.llama_backend_init()
    avoid_broken_layouts(llama_cpp)
    return llama_cpp


def forget_errors() -> None:
    """Forget the logged errors; call this before an operation that may fail."""
    _errors.clear()


def first_error() -> str:
    """Return the first error that llama.cpp logged since `forget_errors`: the cause, which later ones only repeat."""
    if not _errors:
        return "llama.cpp gave no reason"
    return _errors[0].removeprefix("llama_model_load: error loading model: ")
