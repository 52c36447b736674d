"""`lmcot doctor` on the real installation, and on installations that lack something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.commands import doctor
from lmcot_cli.commands.doctor import examine, missing_packages
from lmcot_cli.main import app
from lmcot_cli.models import embedded


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    return result.exit_code, result.stdout


def test_it_finds_llama_cpp_and_the_machine() -> None:
    report = examine()
    assert report.engine is not None
    assert report.engine_error is None
    assert report.cores >= 1
    assert set(report.embedded) == set(embedded.NAMES)


def test_keys_are_told_apart_but_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    text, as_json = run()[1], run("--json")[1]
    assert "OPENAI_API_KEY set, HF_TOKEN not set" in text
    assert "very-secret" not in text + as_json
    assert json.loads(as_json)["keys"] == {"OPENAI_API_KEY": True, "HF_TOKEN": False}


def test_a_missing_embedded_model_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    code, text = run()
    assert code == 1
    assert "builtin:small missing; reinstall lmcot" in text


def test_a_sound_pair_passes_the_check_and_a_changed_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    for name in embedded.NAMES:
        (tmp_path / f"{name}.gguf").write_bytes(name.encode())
    sums = [f"{embedded.sha256(tmp_path / f'{name}.gguf')}  {name}.gguf" for name in embedded.NAMES]
    (tmp_path / "checksums.txt").write_text("\n".join(sums), encoding="utf-8")
    assert run()[0] == 0

    (tmp_path / "large.gguf").write_bytes(b"something else")
    code, text = run("--json")
    assert code == 1
    assert json.loads(text)["embedded"] == {"small": "ok", "large": "changed"}


def test_a_settings_file_is_named_and_a_broken_one_fails_the_check(tmp_path: Path) -> None:
    file = tmp_path / "lmcot.toml"
    file.write_text("[answer]\nsamples = 5\n", encoding="utf-8")
    assert str(file) in run()[1]

    file.write_text("[answer]\nsample = 5\n", encoding="utf-8")
    code, text = run()
    assert code == 1
    assert "unknown key" in text


@pytest.mark.parametrize(
    ("missing", "said"),
    [({}, "extras:    all installed"), ({"plot": ("m",)}, "extra:     plot lacks m: pip install")],
)
def test_what_is_said_of_extras(
    missing: dict[str, tuple[str, ...]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda distribution: True)
    monkeypatch.setattr(doctor, "missing_packages", lambda requirements: missing)
    monkeypatch.setattr(doctor.metadata, "requires", lambda distribution: [])
    assert said in run()[1]


def test_extras_name_the_packages_they_lack() -> None:
    requirements = [
        "typer>=0.16",
        'pytest>=8.3; extra == "dev"',
        'no-such-package-a>=1; extra == "train"',
        "no-such-package-b[x]>=2 ; python_version > '3' and extra == 'train'",
    ]
    assert missing_packages(requirements) == {"train": ("no-such-package-a", "no-such-package-b")}


def test_a_llama_cpp_that_does_not_load_fails_the_check_with_the_line_that_mends_it(tmp_path: Path) -> None:
    (tmp_path / "llama_cpp.py").write_text("raise RuntimeError('Failed to load shared library')\n")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}
    done = subprocess.run(
        [sys.executable, "-m", "lmcot_cli", "doctor"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 1
    assert "unusable (RuntimeError: Failed to load shared library); pip install" in done.stdout
    assert done.stderr == ""
