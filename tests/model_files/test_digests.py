"""A model's digest covers each file that is loaded, and is that of earlier versions where those covered all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.specs import open_model
from lmcot_cli.files import sha256_of
from lmcot_cli.model_files.digests import (
    files_digest,
    folders_digest,
    settings_digest,
    weights_digest,
)

COVERED = [
    "model.safetensors",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "additional_chat_templates/tools.jinja",
    "spiece.model",
    "merges.txt",
    "vocab.tiktoken",
    "modeling_own.py",
    "custom_generate/generate.py",
]


def full(model: Path) -> Path:
    """Give a folder a file of each kind that is loaded."""
    for name in COVERED:
        (model / name).parent.mkdir(exist_ok=True)
        if not (model / name).exists():
            (model / name).write_text("{}")
    return model


@pytest.mark.parametrize("name", COVERED)
def test_each_file_that_is_loaded_changes_the_digest(model: Path, name: str) -> None:
    before = folders_digest([full(model)])
    path = model / name
    path.write_bytes(path.read_bytes() + b" ")
    assert folders_digest([model]) != before


def test_a_file_that_comes_or_goes_changes_it_and_one_that_is_not_loaded_does_not(model: Path) -> None:
    before = folders_digest([model])
    for name in ("README.md", "pytorch_model.bin", ".gitattributes"):
        (model / name).write_text("x")
    assert folders_digest([model]) == before
    (model / "chat_template.jinja").write_text("x")
    assert folders_digest([model]) != before


@pytest.mark.parametrize("place", ["", "shards/"])
def test_each_shard_changes_the_digest_wherever_it_lies(model: Path, place: str) -> None:
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    (model / "shards").mkdir()
    shards = [f"{place}a.safetensors", f"{place}b.safetensors"]
    split = {name: shards[number % 2] for number, name in enumerate(sorted(tensors))}
    for shard in shards:
        part = {name: tensors[name] for name in tensors if split[name] == shard}
        save_file(part, model / shard, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": split}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    options = EngineOptions(threads=1)
    with open_model(str(model), role="small", aliases={}, options=options) as backend:
        before = backend.identity.digest
    whole = (model / shards[1]).read_bytes()
    (model / shards[1]).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with open_model(str(model), role="small", aliases={}, options=options) as backend:
        assert backend.identity.digest != before


def test_an_adapter_is_part_of_it(model: Path, adapter: Path) -> None:
    before = folders_digest([model, adapter])
    assert before != folders_digest([model])
    (adapter / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes() + b" ")
    assert folders_digest([model, adapter]) != before


def test_what_earlier_versions_wrote_for_an_ordinary_folder_is_still_its_digest(model: Path) -> None:
    total = hashlib.sha256()
    kinds = ("*.safetensors", "*.onnx", "*.onnx_data", "*.json", "*.jinja", "*.model", "*.txt", "*.py")
    for path in sorted(path for kind in kinds for path in model.glob(kind)):
        total.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    assert folders_digest([model]) == f"sha256:{total.hexdigest()}"


def test_one_file_has_its_own_digest_and_several_have_one_over_all(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text(path.name)
    assert files_digest(paths[:1]) == sha256_of(paths[0]) == f"sha256:{hashlib.sha256(b'a').hexdigest()}"
    before = files_digest(paths)
    assert before not in map(sha256_of, paths)
    paths[1].write_text("c")
    assert files_digest(paths) != before


def test_weights_and_settings_are_told_apart(model: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(model, tmp_path / "other"))
    (other / "config.json").write_bytes((other / "config.json").read_bytes() + b" ")
    assert weights_digest(other) == weights_digest(model)
    assert settings_digest(other) != settings_digest(model)


def test_a_change_that_keeps_size_and_time_is_noticed(tiny_folder: Callable[..., Path], model: Path) -> None:
    import os

    path, before = model / "config.json", folders_digest([model])
    was = path.stat()
    path.write_text(path.read_text().replace("256", "255"))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert path.stat().st_size == was.st_size
    assert folders_digest([model]) != before
