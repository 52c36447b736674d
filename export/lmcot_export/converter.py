"""Run the converter of a llama.cpp checkout, for models that cannot be written here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.files import replacing

SCRIPT = "convert_hf_to_gguf.py"


def find_script(path: Path) -> Path:
    """Return the converter in a checkout, or the script itself.

    Raises:
        UsageError: There is none.
    """
    script = path / SCRIPT if path.is_dir() else path
    if not script.is_file():
        raise UsageError(
            f"--converter {path}: has no {SCRIPT}; name a checkout of llama.cpp: git clone --depth 1"
            " https://github.com/ggml-org/llama.cpp"
        )
    return script


def convert(script: Path, model: Path, target: Path, type: str) -> Path:
    """Write a full-precision GGUF with a checkout's converter, and return its path.

    Args:
        script: Its `convert_hf_to_gguf.py`; it runs with this Python and brings its own `gguf` package.
        model: The model's folder.
        target: The file to write.
        type: `f32`, `f16` or `bf16`.

    Raises:
        ModelError: The converter failed; its last message is quoted.
    """
    with replacing(target) as temporary:
        command = [sys.executable, str(script), str(model), "--outfile", str(temporary), "--outtype", type]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no shell)
        if done.returncode != 0:
            raise ModelError(f"{script}: failed on {model}: {_last_word(done.stderr or done.stdout)}")
    return target


def _last_word(output: str) -> str:
    """Return the exception or message at the end, without the indented frames of a traceback."""
    lines = [line for line in output.splitlines() if line.strip() and not line[0].isspace()]
    return lines[-1] if lines else "it did not say why"
