"""`lmcot train pretrain`, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.main import app

pytest.importorskip("torch")


def test_pretrain_leaves_a_model_that_the_engine_runs(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["train", "pretrain", "base", "-o", str(tmp_path / "run"), "--minutes", "0.1"]
    )
    assert result.exit_code == 0, result.stderr
    assert "0.00 of 0.1 CPU min  step 1  loss " in result.stderr, "before the first record, of 50 steps"
    gguf = tmp_path / "run" / "model.gguf"
    assert result.stdout.strip() == str(gguf)
    with LlamaBackend(gguf) as model:
        (completion,) = model.complete([Request("Question: Who?", seed=0)], Sampling(max_tokens=4))
    assert isinstance(completion, Completion)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])["minutes"] == 0.1


def test_an_output_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["train", "pretrain", "base", "-o", str(tmp_path / "file" / "run")])
    assert result.exit_code == 1
    assert "cannot be made" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_the_extra_the_line_that_installs_it_is_shown() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; sys.argv[1:] = ['train', 'pretrain', 'base', '-o', 'x']\n"
    )
    script += "from lmcot_cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 3
    assert "pip install 'lmcot[train]'" in done.stderr
