"""The sessions of examples/large: those that need no server of the user's run, the others show what they would ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def session(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a session with the lmcot of this environment and this checkout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    known = {**os.environ, "PATH": path, "OPENAI_API_KEY": "none", **environment}
    script = ROOT / "examples" / "large" / f"{name}.sh"
    return subprocess.run(
        ["bash", script, *words], env=known, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("name", ["embedded", "gguf", "llama_server"])
def test_a_session_that_needs_nothing_else_runs(name: str) -> None:
    done = session(name, "--limit", "1", "--threads", "1", "--parallel", "4", PORT="0")
    assert done.returncode == 0, done.stderr
    assert "founded later, Valsen Press or Wensen Foods?  ->  " in done.stdout


@pytest.mark.parametrize(
    ("name", "model"), [("hosted", "openai:gpt-5-mini"), ("vllm", "http://127.0.0.1:8000/v1#Qwen/Qwen2.5-7B")]
)
def test_a_session_with_a_server_of_the_user_s_shows_what_it_would_ask(name: str, model: str) -> None:
    done = session(name, "--limit", "1", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"guided_answer, to {model}" in done.stdout
    assert "1 row. No model was asked." in done.stdout


def test_every_session_is_tried_here() -> None:
    sessions = {path.stem for path in (ROOT / "examples" / "large").glob("*.sh")}
    assert sessions == {"embedded", "gguf", "llama_server", "hosted", "vllm"}
