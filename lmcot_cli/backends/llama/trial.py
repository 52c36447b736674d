"""Write two tokens with a model, to see in a process of its own whether llama.cpp runs here.

A llama.cpp that was built for another processor loads, and ends the process at its first step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

_PROGRAM = "lmcot_cli.backends.llama.trial_program"
_SECONDS = 120


def fault_of(model: Path, **variables: str) -> str | None:
    """Run the model in another process; return what went wrong there, None where nothing did.

    Args:
        model: The GGUF file.
        variables: Environment variables of that process, beside those of this one.
    """
    command = [sys.executable, "-P", "-m", _PROGRAM, str(model)]  # -P: nothing of the working directory
    try:
        done = subprocess.run(  # noqa: S603  (a module of ours)
            command, env=os.environ | variables, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it wrote no token in {_SECONDS} s"
    if done.returncode < 0:
        return f"it crashes here, by {signal.Signals(-done.returncode).name}"
    return (done.stderr.splitlines() or ["it failed"])[-1] if done.returncode else None
