"""Whether llama.cpp's own layouts of weights can be used here: found out once, in a child process, and remembered.

On processors with AMX, a llama.cpp that GCC 12 compiled for them configures the tiles with values that the compiler has
not written yet: the first product of matrices then ends the process by SIGILL (Debian 12, llama.cpp of llama-cpp-python
0.3.36). Without its own layouts llama.cpp computes there as elsewhere, more slowly.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from lmcot_cli.models import embedded

_SECONDS = 120.0
"""Far more than a machine takes to load the embedded model and read a few tokens."""
_CHILD = "LMCOT_TRIES_WEIGHT_LAYOUTS"
_TRIAL = "lmcot_cli.backends.llama.trial"
"""Computes with a model, here with the embedded one, whose weights get such a layout."""
_FINE, _BROKEN = "fine", "broken"


def avoid_broken_layouts(api: Any) -> bool:
    """Have models loaded without llama.cpp's own layouts of weights where those end the process.

    Args:
        api: The module `llama_cpp`, its backends started.

    Returns:
        Whether they are avoided.
    """
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
    memory = _memory_of(package)
    with contextlib.suppress(OSError):
        if (known := memory.read_text()) in (_FINE, _BROKEN):
            return known == _FINE
    works = _try_in_child()
    with contextlib.suppress(OSError):  # without a cache the next process tries again
        memory.parent.mkdir(parents=True, exist_ok=True)
        draft = memory.with_suffix(f".{os.getpid()}")
        draft.write_text(_FINE if works else _BROKEN)
        draft.replace(memory)
    return works


def _try_in_child() -> bool:
    model = embedded.path_of("builtin:small")
    command = [sys.executable, "-P", "-m", _TRIAL, str(model)]  # -P: nothing of the working directory
    try:
        done = subprocess.run(  # noqa: S603  (a module of ours)
            command, env=os.environ | {_CHILD: "1"}, capture_output=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _memory_of(package: Path) -> Path:
    """Return the file that remembers what was found for this build of llama.cpp on this kind of machine."""
    from platformdirs import user_cache_path

    library = next(iter(sorted((package.parent / "lib").glob("*ggml-cpu*"))), package).stat()
    facts = (str(package), library.st_size, library.st_mtime_ns, platform.node(), platform.machine())
    return user_cache_path("lmcot") / "layouts" / hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
