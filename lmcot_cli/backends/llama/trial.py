"""Write two tokens with a model in a process of its own, to see whether llama.cpp runs here.

A llama.cpp that was built for another processor loads, and ends the process at its first step. The process runs this
module: `python -m lmcot_cli.backends.llama.trial MODEL.gguf`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

_SECONDS = 120


def fault_of(model: Path, **variables: str) -> str | None:
    """Run the model in another process; return what went wrong there, None where nothing did.

    Args:
        model: The GGUF file.
        variables: Further environment variables of that process.
    """
    command = [sys.executable, "-P", "-m", __name__, str(model)]  # -P: no module of the working directory
    try:
        done = subprocess.run(  # noqa: S603  (this module)
            command, env=os.environ | variables, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it wrote no token in {_SECONDS} s"
    if done.returncode < 0:
        return f"it crashes here, by {signal.Signals(-done.returncode).name}"
    return (done.stderr.splitlines() or ["it failed"])[-1] if done.returncode else None


def main() -> None:
    """Load the model that the command line names, and write."""
    from lmcot_cli.backends.base import Request, Sampling
    from lmcot_cli.backends.engine_options import EngineOptions
    from lmcot_cli.backends.llama.backend import LlamaBackend
    from lmcot_cli.errors import ModelError

    try:
        backend = LlamaBackend(Path(sys.argv[1]), EngineOptions(threads=1, parallel=1, n_ctx=64))
        backend.complete([Request("Who?", 0)], Sampling(max_tokens=2))
    except ModelError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
