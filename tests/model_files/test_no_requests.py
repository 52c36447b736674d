"""Whatever the files of a model name, nothing is asked of the hub but what the user named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lmcot_cli.model_files.digests import weights_digest

ROOT = Path(__file__).parents[2]
Hub = tuple[str, list[str]]
Change = Callable[..., None]
PROGRAM = """
import sys, warnings
from pathlib import Path
from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.specs import open_model
from lmcot_cli.errors import LmcotError

def answer(spec):
    with open_model(spec, role="small", aliases={}, options=EngineOptions(threads=1)) as backend:
        backend.complete([Request("the cat", 0)], Sampling(max_tokens=2))
        backend.identity

def export(folder, *more):
    from lmcot_export.options import ExportOptions
    from lmcot_export.run import export
    export(ExportOptions(Path(folder), output=Path(folder).parent / "out", verify=False, threads=1, **dict(more)))

def onnx(folder):
    export(folder, ("format", "onnx"))

def base(folder):
    from lmcot_train.models import open_base
    open_base(folder)

def run(folder):
    from lmcot_train.models import open_run
    open_run(Path(folder))

def kernels(folder):
    from huggingface_hub import snapshot_download
    from lmcot_cli.backends.torch.library import loading
    with loading(folder):
        snapshot_download("kernels-community/causal-conv1d")

def download(name):
    from lmcot_cli.models.hub import download_model
    download_model(name)

for number in range(1, len(sys.argv), 2):
    try:
        globals()[sys.argv[number]](sys.argv[number + 1])
        print("done")
    except LmcotError as error:
        print(error)
"""


def asked_by(hub: Hub, home: Path, *steps: str) -> tuple[list[str], list[str]]:
    """Return what each step ended in and the requests that the hub got, in a process that may ask it."""
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": hub[0], "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "train", "export"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *steps],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.splitlines(), hub[1]


@pytest.fixture
def far(model: Path, adapter: Path, settings: Change) -> tuple[Path, Path]:
    """A model and an adapter that name others on the hub wherever they can."""
    settings(model / "config.json", _name_or_path="evil/base", name_or_path="evil/base")
    settings(model / "tokenizer_config.json", name_or_path="evil/base", _commit_hash="0" * 40)
    settings(adapter / "adapter_config.json", base_model_name_or_path="evil/base", revision="evil")
    return model, adapter


def test_a_model_and_an_adapter_that_name_others_are_opened_without_a_request(
    hub: Hub, far: tuple[Path, Path], tmp_path: Path
) -> None:
    model, adapter = far
    steps = ["answer", f"transformers:{model}+{adapter}", "base", str(model), "export", str(model)]
    said, asked = asked_by(hub, tmp_path / "home", *steps, "onnx", str(model))
    assert said == ["done"] * 4
    assert asked == []


def test_a_base_that_a_file_names_is_not_fetched(hub: Hub, far: tuple[Path, Path], tmp_path: Path) -> None:
    model, adapter = far
    run = tmp_path / "run"
    shutil.copytree(adapter, run / "adapter")
    record = {"format": 1, "kind": "distill", "base": "evil/base", "base_digest": weights_digest(model)}
    record |= {"settings": {}, "seeds": {}, "data": {}, "adapter": "adapter", "finished": True}
    (run / "run.json").write_text(json.dumps(record))
    steps = [part for step in ("answer", "export", "run") for part in (step, str(run))]
    steps += ["answer", str(adapter), "export", str(adapter)]
    said, asked = asked_by(hub, tmp_path / "home", *steps)
    assert asked == []
    assert len(said) == 5
    for line in said:
        assert "names 'evil/base' as its base, which is no folder here and is not in the local cache" in line


def test_what_a_library_asks_while_it_opens_a_model_is_not_sent_and_what_the_user_names_is(
    hub: Hub, model: Path, tmp_path: Path
) -> None:
    said, asked = asked_by(hub, tmp_path / "home", "kernels", str(model))
    assert asked == []
    assert said[0].startswith(f"{model}: cannot be loaded")
    said, asked = asked_by(hub, tmp_path / "home", "answer", str(model), "download", "some/model")
    assert asked == ["HEAD /some/model/resolve/main/config.json"]
    assert said[0] == "done"
