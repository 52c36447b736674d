from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lmcot_cli.errors import InputError, ModelError
from lmcot_cli.model_files.digests import weights_digest
from lmcot_export.source import ExportSource, find_source


def write_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def write_run(folder: Path, **run: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"format": 1, **run}))
    return folder


def test_a_models_folder_is_exported_beside_the_user(tmp_path: Path) -> None:
    model = write_model(tmp_path / "SmolLM2")
    assert find_source(model) == ExportSource("SmolLM2", model, None, Path("SmolLM2-export"))


def test_a_run_with_an_adapter_names_its_base(tmp_path: Path) -> None:
    model = write_model(tmp_path / "base")
    run = write_run(tmp_path / "runs" / "a", base=str(model), adapter="adapter")
    assert find_source(run) == ExportSource("a", model, run / "adapter", run / "export")


def test_a_base_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "base")
    (model / "model.safetensors").write_bytes(b"old")
    digest = weights_digest(model)
    run = write_run(tmp_path / "runs" / "a", base=str(model), base_digest=digest, adapter="adapter")
    assert find_source(run).model == model
    (model / "model.safetensors").write_bytes(b"new")
    with pytest.raises(ModelError, match=rf"{run}: was trained on other weights than {model} holds now"):
        find_source(run)


def test_a_base_may_be_named_from_the_runs_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", base="../base", adapter="adapter")
    write_model(tmp_path / "base")
    assert find_source(run).model.resolve() == tmp_path / "base"


def test_a_run_of_all_weights_is_its_own_model(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", base="x", adapter=None)
    write_model(run / "model")
    assert find_source(run) == ExportSource("a", run / "model", None, run / "export")


def test_without_a_path_the_newest_run_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("new", "old")):
        run = write_run(tmp_path / "runs" / name, base="x", adapter=None)
        write_model(run / "model")
        os.utime(run / "run.json", (1000 - age, 1000 - age))
    assert find_source(None).name == "new"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    gone = write_run(tmp_path / "gone", base=str(tmp_path / "base"), adapter="adapter")
    with pytest.raises(ModelError, match="is not there any more"):
        find_source(gone)
    unfinished = write_run(tmp_path / "unfinished", base="x", adapter=None)
    with pytest.raises(ModelError, match="let it end, or resume it"):
        find_source(unfinished)
    (unfinished / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json: is not valid JSON"):
        find_source(unfinished)
