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

_SECONDS = 120.0
"""Far more than a machine takes to load the embedded model and read a few tokens."""
_CHILD = "LMCOT_TRIES_WEIGHT_LAYOUTS"
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
    command = [sys.executable, "-P", "-m", __name__]  # nothing of the working directory
    try:
        done = subprocess.run(  # noqa: S603  (this very module)
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


def main() -> None:
    """Read some tokens with the embedded model, whose weights get such a layout."""
    from lmcot_cli.backends.base import Request, Sampling
    from lmcot_cli.backends.engine_options import EngineOptions
    from lmcot_cli.backends.llama.backend import LlamaBackend
    from lmcot_cli.models import embedded

    options = EngineOptions(n_ctx=256, parallel=1, threads=1)
    with LlamaBackend(embedded.path_of("builtin:small"), options, "builtin:small") as backend:
        backend.complete([Request("a word and a few more " * 4, seed=0)], Sampling(max_tokens=4))


if __name__ == "__main__":
    main()
