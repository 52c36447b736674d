"""`python -m tools.pretrain`, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.llama.backend import LlamaBackend
from tools.pretrain import __main__ as command


def test_it_leaves_a_model_that_the_engine_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["base", "-o", str(tmp_path / "run"), "--minutes", "0.1"])
    output = capsys.readouterr()
    assert "0.00 of 0.1 CPU min  step 1  loss " in output.err, "before the first record, of 50 steps"
    gguf = tmp_path / "run" / "model.gguf"
    assert output.out.strip() == str(gguf)
    with LlamaBackend(gguf) as model:
        (completion,) = model.complete([Request("Question: Who?", seed=0)], Sampling(max_tokens=4))
    assert isinstance(completion, Completion)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])["minutes"] == 0.1


def test_an_output_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"^error: .*cannot be made: [\w ]+$"):
        command.main(["base", "-o", str(tmp_path / "file" / "run")])


def test_an_interrupted_run_keeps_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.pretrain.loop.language_loss", interrupted)
    with pytest.raises(SystemExit, match="130"):
        command.main(["base", "-o", str(tmp_path / "run")])
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()
    assert "interrupted; the weights so far are in " in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["small"], ["base", "--minutes", "0"], ["base", "--minutes", "nan"]])
def test_a_wrong_argument_ends_with_the_usage(
    tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main([*wrong, "-o", str(tmp_path / "run")])
    assert "usage: python -m tools.pretrain" in capsys.readouterr().err
