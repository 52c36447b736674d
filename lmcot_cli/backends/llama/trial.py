"""Write two tokens with a model, to see in a process of its own whether llama.cpp runs here: `... .trial MODEL.gguf`.

A llama.cpp that was built for another processor loads, and ends the process at its first step.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.errors import ModelError

_SECONDS = 120


def fault_of(model: Path) -> str | None:
    """Run the model in another process; return what went wrong there, None where nothing did."""
    command = [sys.executable, "-P", "-m", __name__, str(model)]  # -P: nothing of the working directory
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"it wrote no token in {_SECONDS} s"
    if done.returncode < 0:
        return f"it crashes here, by {signal.Signals(-done.returncode).name}"
    return (done.stderr.splitlines() or ["it failed"])[-1] if done.returncode else None


def main() -> None:
    """Load the model that is named, and write."""
    from lmcot_cli.backends.llama.backend import LlamaBackend

    try:
        backend = LlamaBackend(Path(sys.argv[1]), EngineOptions(threads=1, parallel=1, n_ctx=64))
        backend.complete([Request("Who?", 0)], Sampling(max_tokens=2))
    except ModelError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
