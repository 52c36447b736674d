"""Find out once, in a child process, whether llama.cpp's own layouts of weights work here, and remember it.

On processors with AMX, a llama.cpp compiled by GCC 12 configures the tiles with values that the compiled code has not
written yet: the first matrix product ends the process by SIGILL (Debian 12, llama.cpp of llama-cpp-python 0.3.36).
Without its own layouts llama.cpp works there as elsewhere, but more slowly.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from lmcot_cli.backends.llama.remembered import memory_of, recall, remember
from lmcot_cli.backends.llama.trial import fault_of
from lmcot_cli.models import embedded

_CHILD = "LMCOT_TRIES_WEIGHT_LAYOUTS"
_FINE, _BROKEN = "fine", "broken"

ADVICE = (
    "llama.cpp's own layouts of weights crash here (its AMX code, as GCC 12 compiles it), so it runs more slowly,"
    " without them: install lmcot by `make`, which leaves that code out, or compile llama-cpp-python by another GCC"
)
"""Logged once, and shown by `lmcot doctor`."""

_log = logging.getLogger(__name__)


def avoid_broken_layouts(api: Any) -> bool:
    """Load models without llama.cpp's own layouts of weights where those end the process; return whether they do."""
    if _CHILD in os.environ or b"AMX_INT8 = 1" not in api.llama_print_system_info():
        return False
    if _layouts_work(Path(api.__file__)):
        return False
    default = api.llama_model_default_params

    def without_layouts() -> Any:
        params = default()
        params.use_extra_bufts = False
        return params

    for module in (api, api.llama_cpp):  # llama_cpp.Llama takes it from the latter
        module.llama_model_default_params = without_layouts
    return True


def _layouts_work(package: Path) -> bool:
    library = next(iter(sorted((package.parent / "lib").glob("*ggml-cpu*"))), package).stat()
    memory = memory_of("layouts", str(package), library.st_size, library.st_mtime_ns)
    if (known := recall(memory)) in (_FINE, _BROKEN):
        return known == _FINE
    works = fault_of(embedded.path_of("builtin:small"), **{_CHILD: "1"}) is None
    remember(_FINE if works else _BROKEN, memory)
    if not works:
        _log.warning("%s", ADVICE)
    return works
