"""What is handed out works: a wheel, a source distribution and a clone, each away from this checkout.

Dependencies are those of the environment that the tests run in; nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
QUESTION = {"question": "Who?", "context": [["Ann Moore", ["Ann Moore was born in Oslo."]]], "answer": "Oslo"}
BUILDERS = {"wheel": (WheelBuilder, "standard"), "sdist": (SdistBuilder, "standard")}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where no checkout is in reach, and with nothing of the user's own."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "OPENAI_API_KEY", "HF_TOKEN")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"XDG_CONFIG_HOME": str(folder / "config"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, env=environment, check=False
    )


def virtual_environment(folder: Path) -> Path:
    """Make an environment in which the packages of this one can be imported; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    own = run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder)
    (Path(own.stdout.strip()) / "others.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module", params=BUILDERS)
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build a distribution and install it; return its `lmcot`."""
    folder = tmp_path_factory.mktemp(request.param)
    builder, version = BUILDERS[request.param]
    (built,) = builder(str(ROOT)).build(directory=str(folder / "dist"), versions=[version])
    python = virtual_environment(folder / "venv")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    done = run([*pip, "--no-deps", "--no-index", "--no-build-isolation", built], folder)
    assert done.returncode == 0, done.stderr
    return str(python.with_name("lmcot"))


def test_doctor_finds_nothing_wrong_with_what_is_handed_out(command: str, tmp_path: Path) -> None:
    done = run([command, "doctor", "--json"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] and report["embedded"] == {"small": "ok", "large": "ok"}
    assert "source" not in report["lmcot"]


def test_it_answers_and_helps(command: str, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps(QUESTION))
    done = run([command, "answer", "q.jsonl"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["error"] is None
    shown = run([command, "--help"], tmp_path)
    assert shown.returncode == 0 and "doctor" in shown.stdout and shown.stderr == ""


@pytest.mark.skipif(not shutil.which("git") or not (ROOT / ".git").exists(), reason="this is no clone")
def test_a_fresh_clone_is_sound(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, tmp_path / "lmcot"], check=True)
    done = run([sys.executable, "-m", "lmcot_cli", "doctor"], tmp_path / "lmcot")
    assert done.returncode == 0, done.stdout + done.stderr
