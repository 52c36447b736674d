"""Where llama.cpp's own layouts of weights end the process, models are loaded without them."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lmcot_cli.backends.llama import trial, weight_layouts
from lmcot_cli.models import embedded


class Params(ctypes.Structure):
    _fields_ = (("use_extra_bufts", ctypes.c_bool),)


def library(features: bytes) -> Any:
    inner = SimpleNamespace(llama_model_default_params=lambda: Params(True))
    return SimpleNamespace(
        llama_print_system_info=lambda: features,
        llama_model_default_params=inner.llama_model_default_params,
        llama_cpp=inner,
        __file__=__file__,
    )


class Child:
    """Stands for the child process: ends as told, and counts how often it was started."""

    def __init__(self, returncode: int) -> None:
        self.returncode, self.started = returncode, 0

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        self.started += 1
        return subprocess.CompletedProcess(command, self.returncode, "", "")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("returncode", "avoided"), [(0, False), (-4, True), (132, True)])
def test_a_child_that_dies_of_them_has_them_avoided_and_is_remembered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, returncode: int, avoided: bool
) -> None:
    child = Child(returncode)
    monkeypatch.setattr(trial.subprocess, "run", child)
    for _ in range(2):
        api = library(b"CPU : AMX_INT8 = 1 | REPACK = 1")
        assert weight_layouts.avoid_broken_layouts(api) == avoided
        for module in (api, api.llama_cpp):
            assert module.llama_model_default_params().use_extra_bufts != avoided
    assert child.started == 1
    assert caplog.messages == ([weight_layouts.ADVICE] if avoided else [])


@pytest.mark.usefixtures("cache")
def test_no_child_is_started_where_there_is_nothing_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(-4)
    monkeypatch.setattr(trial.subprocess, "run", child)
    assert not weight_layouts.avoid_broken_layouts(library(b"CPU : AVX2 = 1 | REPACK = 1"))
    assert child.started == 0


def test_a_trial_runs_nothing_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lmcot_cli.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    assert trial.fault_of(embedded.path_of("builtin:small")) in (None, "it crashes here, by SIGILL")
    assert not (tmp_path / "ran").exists()
