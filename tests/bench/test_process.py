"""Parts run in processes of their own; what goes wrong there is told here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.bench import process
from lmcot_cli.bench.machine import peak_memory
from lmcot_cli.bench.measure import ENGINE
from lmcot_cli.bench.options import Workload
from lmcot_cli.bench.process import run_part
from lmcot_cli.errors import ModelError

MIB = 1024 * 1024
WORK = Workload(prompts=1, prompt_tokens=16, samples=2, new_tokens=4)


def arguments(path: Path) -> dict[str, Any]:
    settings = {"width": 1, "threads": 1, "gpu_layers": 0}
    return {"path": str(path), "workload": asdict(WORK), "texts": [["the film"]], **settings}


def test_a_part_runs_elsewhere_and_its_peak_of_memory_is_its_own(tiny: Path) -> None:
    held = bytearray(os.urandom(1)) * (400 * MIB)
    here = peak_memory()
    found = run_part(ENGINE, arguments(tiny))
    assert len(found["runs"]) == 1
    if here is not None:
        assert here > 400 * MIB
        assert 10 * MIB < found["peak_memory"] < 300 * MIB
    assert len(held) == 400 * MIB


def test_an_error_of_ours_comes_back_as_one_line(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^measuring engine: .*none\.gguf: no such model file"):
        run_part(ENGINE, arguments(tmp_path / "none.gguf"))


def test_a_bug_keeps_its_traceback(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match=r"its process failed \(status 1\); see above"):
        run_part(ENGINE, arguments(tiny) | {"texts": [[3]]})
    assert "Traceback" in capfd.readouterr().err


def test_a_killed_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def killed(command: list[str], **options: Any) -> Any:
        return real(
            [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], **options
        )

    monkeypatch.setattr(process.subprocess, "Popen", killed)
    with pytest.raises(ModelError, match="was ended by signal 9"):
        run_part(ENGINE, {})


def loaded(parent: int, model: str) -> bool:
    """Whether a process that `parent` has started holds the model in its memory."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return any(model in Path(f"/proc/{child}/maps").read_text() for child in children)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only /proc tells what others do")
def test_no_process_is_left_behind_when_this_one_is_ended(tiny: Path) -> None:
    model = tiny
    endless = arguments(model) | {"workload": asdict(replace(WORK, new_tokens=200, samples=10_000))}
    code = f"from lmcot_cli.bench.process import run_part; run_part({ENGINE!r}, {endless!r})"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as parent:
        deadline = time.monotonic() + 60
        while not loaded(parent.pid, str(model)):
            assert parent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        parent.terminate()
        # The part writes to the same stderr, which comes to its end with the last process that has it.
        assert parent.communicate(timeout=30) == (None, b"")
