"""`lmcot answer --small buil<TAB>`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmcot_cli.models.completion import complete_spec


def test_names_and_files_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("small.gguf", "sub/model.gguf", "smallest.txt", ".hidden.gguf"):
        (tmp_path / name).write_text("")
    assert complete_spec("buil") == ["builtin:small", "builtin:large"]
    assert complete_spec("sm")[-1] == "small.gguf"
    assert "smollm2-135m" in complete_spec("sm")
    assert complete_spec("su") == ["sub/"]
    assert complete_spec("sub/") == ["sub/model.gguf"]
    assert complete_spec(f"{tmp_path}/sub/m") == [f"{tmp_path}/sub/model.gguf"]
    assert complete_spec("none/") == []


def test_the_shell_is_told(tmp_path: Path) -> None:
    asked = {"_LMCOT_COMPLETE": "complete_bash", "COMP_WORDS": "lmcot answer --small buil", "COMP_CWORD": "3"}
    code = "import sys; sys.argv = ['lmcot']; from lmcot_cli.main import app; app(prog_name='lmcot')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["builtin:small", "builtin:large"], done.stderr
