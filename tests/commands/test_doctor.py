"""`lmcot doctor` on the real installation, and on installations that lack something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli import installation
from lmcot_cli.commands import doctor
from lmcot_cli.commands.doctor import examine
from lmcot_cli.files import hex_digest
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
    assert "builtin:small missing; pip install --force-reinstall --no-deps lmcot" in text


def test_a_sound_pair_passes_the_check_and_a_changed_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    monkeypatch.setattr(doctor, "_trial", lambda: None)
    for name in embedded.NAMES:
        (tmp_path / f"{name}.gguf").write_bytes(name.encode())
    sums = [f"{hex_digest(tmp_path / f'{name}.gguf')}  {name}.gguf" for name in embedded.NAMES]
    (tmp_path / "checksums.txt").write_text("\n".join(sums), encoding="utf-8")
    assert run()[0] == 0

    (tmp_path / "large.gguf").write_bytes(b"something else")
    code, text = run("--json")
    assert code == 1
    assert json.loads(text)["embedded"] == {"small": "ok", "large": "changed"}
    assert "builtin:large changed: its checksum is not that of checksums.txt; pip install" in run()[1]


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
    monkeypatch.setattr(installation, "version_of", lambda distribution: doctor.__version__)
    monkeypatch.setattr(installation, "newer_packages", dict)
    monkeypatch.setattr(installation, "missing_packages", lambda requirements: missing)
    monkeypatch.setattr(doctor.metadata, "requires", lambda distribution: [])
    assert said in run()[1]


def test_a_package_that_does_not_fit_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda distribution: ["typer>=999", "rich>=1"])
    code, text = run()
    assert code == 1
    assert "package:   typer" in text and "does not fit: pip install --upgrade 'typer>=999'" in text


def test_a_package_that_only_an_extra_wants_newer_is_told_of_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda distribution: ['rich>=999; extra == "plot"'])
    code, text = run()
    assert code == 0
    assert "does not fit: pip install --upgrade 'rich>=999'" in text


def test_a_container_that_may_use_fewer_cores_is_told_to_start_fewer_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installation, "core_quota", lambda: 1.5)
    monkeypatch.setattr(doctor, "usable_cores", lambda: 64)
    assert "threads:   the container may use 1.5 cores' time: use --threads 1" in run()[1]


def test_a_full_disk_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "free_space", lambda: {"/cache": 5_000_000})
    assert "disk:      5.0 MB free for /cache; free some, or set HF_HOME" in run()[1]


def test_an_installation_of_another_version_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "__version__", "99.0")
    assert "99.0 (installed as " in run()[1]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"samples"])
def test_a_settings_file_that_cannot_be_read_fails_the_check(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config" / "lmcot" / "lmcot.toml"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    code, text = run()
    assert code == 1
    assert "lmcot.toml: " in text


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("kill -ILL $$", "it crashes here, by SIGILL"),  # built for another processor
        ("echo 'damaged: x' >&2; exit 1", "damaged: x"),
    ],
)
def test_a_llama_cpp_that_does_not_run_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, said: str
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\n{python}\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    code, text = run()
    assert code == 1
    assert f"unusable ({said}); build it for this machine, with a C++ compiler: CMAKE_ARGS" in text


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
    assert "unusable (RuntimeError: Failed to load shared library); build it for this machine" in done.stdout
    assert done.stderr == ""
