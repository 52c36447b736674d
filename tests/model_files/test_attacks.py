"""Folders that would have a library unpickle, run, follow or allocate something: refused in one line that names it."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.specs import open_model
from lmcot_cli.errors import ModelError
from lmcot_export.options import ExportOptions
from lmcot_export.run import export
from lmcot_train.models import open_base

Change = Callable[..., None]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FAR = 10**11


def opened(spec: str, **options: Any) -> None:
    engine = EngineOptions(threads=1, **options)
    with open_model(spec, role="small", aliases={}, options=engine) as backend:
        (done,) = backend.complete([Request("the cat", 0)], Sampling(max_tokens=2))
        assert isinstance(done, Completion)


def exported(folder: str) -> None:
    out = Path(folder).parent / "out"
    export(ExportOptions(Path(folder), output=out, verify=False, threads=1))


LOADERS: dict[str, Callable[[str], object]] = {"answer": opened, "distill": open_base, "export": exported}


def refused(folder: Path, message: str, loader: Callable[[str], object] = opened) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        loader(str(folder))
    assert len(str(caught.value).splitlines()) == 1
    assert str(folder) in str(caught.value)


def indexed(model: Path, shard: str) -> Path:
    """Put an index in the place of the weights, which maps all of them to one file."""
    weights = model / WEIGHTS
    names = load_file(weights)
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, shard)}
    (model / INDEX).write_text(json.dumps(index))
    return weights


@pytest.fixture(autouse=True)
def no_pickle_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("shard", ["pytorch_model.bin", "weights.pt", "weights"])
def test_an_index_of_pickles(model: Path, bomb: bytes, marker: Path, shard: str, loader: str) -> None:
    indexed(model, shard).unlink()
    (model / shard).write_bytes(bomb)
    refused(model, rf"index\.json: maps weights to '{shard}', which is no safetensors file", LOADERS[loader])


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("way", ["above", "absolute", "linked"])
def test_an_index_that_leads_out_of_the_folder(model: Path, tmp_path: Path, way: str, loader: str) -> None:
    elsewhere = tmp_path / "elsewhere.safetensors"
    shard = {"above": f"../{elsewhere.name}", "absolute": str(elsewhere), "linked": "a.safetensors"}[way]
    indexed(model, shard).rename(elsewhere)
    if way == "linked":
        (model / shard).symlink_to(elsewhere)
    refused(model, "outside it; it is not read|is a link out of its folder", LOADERS[loader])


@pytest.mark.parametrize("loader", LOADERS)
def test_a_folder_of_pickles_alone(model: Path, bomb: bytes, marker: Path, loader: str) -> None:
    (model / WEIGHTS).unlink()
    (model / "pytorch_model.bin").write_bytes(bomb)
    refused(model, r"no pickle is loaded \(pytorch_model\.bin\)", LOADERS[loader])


@pytest.mark.parametrize("loader", LOADERS)
def test_pickles_beside_good_weights_are_left_alone(
    model: Path, bomb: bytes, marker: Path, loader: str
) -> None:
    names = (
        "pytorch_model.bin",
        "pytorch_model.fp16.bin",
        "training_args.bin",
        "optimizer.pt",
        "rng_state.pth",
    )
    for name in names:
        (model / name).write_bytes(bomb)
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "pytorch_model.bin"}}
    (model / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    LOADERS[loader](str(model))


@pytest.mark.parametrize("name", ["vocab.pkl", "vocab.bin"])
def test_a_pickled_vocabulary(model: Path, bomb: bytes, marker: Path, name: str, settings: Change) -> None:
    settings(model / "tokenizer_config.json", tokenizer_class="TransfoXLTokenizer")
    (model / name).write_bytes(bomb)
    refused(model, rf"{name}: is a pickled vocabulary")
    (model / name).unlink()
    refused(model, "tokenizer_class: its vocabulary is a pickle")


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json", "generation_config.json"])
def test_a_link_out_of_the_folder(model: Path, tmp_path: Path, name: str, loader: str) -> None:
    (model / name).rename(tmp_path / "elsewhere")
    (model / name).symlink_to(tmp_path / "elsewhere")
    refused(model, rf"{name}: is a link out of its folder", LOADERS[loader])


@pytest.mark.parametrize("name", [WEIGHTS, "generation_config.json", "tokenizer.json", "chat_template.jinja"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "dangling", "loop"])
def test_what_is_no_file(model: Path, name: str, kind: str) -> None:
    path = model / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "dangling": "nothing", "loop": name}[kind])
    refused(model, rf"{name}: (is not a file|is a link out|is missing|cannot be read)")


def test_a_hidden_template_that_is_a_pipe(model: Path) -> None:
    (model / "additional_chat_templates").mkdir()
    os.mkfifo(model / "additional_chat_templates" / "tools.jinja")
    refused(model, r"tools\.jinja: is not a file but a pipe")


def test_a_link_within_the_folder_and_one_of_the_hubs_cache_are_followed(model: Path, tmp_path: Path) -> None:
    (model / WEIGHTS).rename(model / "real.safetensors")
    (model / WEIGHTS).symlink_to("real.safetensors")
    opened(str(model))
    repository = tmp_path / "models--org--model"
    snapshot, blobs = repository / "snapshots" / "0123", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(model.iterdir())):
        shutil.copyfile(path, blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    opened(str(snapshot))
    (blobs / "0").rename(repository / "0")
    (blobs / "0").symlink_to("../0")
    refused(snapshot, "is a link out of its folder")


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"transformers_weights": "../elsewhere.safetensors"},
            "transformers_weights: it leads to other files",
        ),
        ({"configuration_files": ["config.4.0.0.json"]}, "configuration_files: it leads to other files"),
        ({"attn_implementation": "evil/kernel"}, "attn_implementation: 'evil/kernel' may be code"),
        ({"_attn_implementation": "sdpa|evil/kernel@main:run"}, "_attn_implementation: .* may be code"),
        (
            {"text_config": {"attn_implementation": {"": "evil/kernel"}}},
            "attn_implementation: .* may be code",
        ),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: it names 1000000000 layers"),
        ({"n_layer": 500}, "n_layer: it names 500 layers, and there are 21 weights"),
        ({"vocab_size": 10**12}, r"vocab_size: it is 1e\+12"),
        ({"hidden_size": 10**7}, r"hidden_size: it is 1e\+07"),
        ({"num_labels": 10**9}, r"num_labels: it is 1e\+09"),
        ({"num_local_experts": 10**8}, r"num_local_experts: it is 1e\+08"),
        ({"head_dim": 10**10}, r"head_dim: it is 1e\+10"),
        ({"intermediate_size": 60_000, "hidden_size": 60_000}, "config.json makes a model of|do not fit"),
        ({"model_type": "marian", "max_position_embeddings": 10**9}, "a table of 1000000000 positions by 64"),
        ({"max_position_embeddings": 10**30}, r"max_position_embeddings: it is 1e\+30"),
    ],
)
def test_settings_that_lead_elsewhere_or_fill_the_memory(
    model: Path, settings: Change, values: dict[str, Any], message: str, loader: str
) -> None:
    settings(model / "config.json", **values)
    if loader == "export" and "intermediate_size" in values:
        message = "has the shape"  # the export compares each weight with config.json
    refused(model, message, LOADERS[loader])


def test_positions_that_would_be_a_table_of_any_size(
    tiny_folder: Callable[..., Path], tmp_path: Path, settings: Change
) -> None:
    model = Path(shutil.copytree(tiny_folder("gpt2"), tmp_path / "gpt2"))
    settings(model / "config.json", n_positions=200_000)
    refused(model, "config.json makes a model of 80,")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"fast_tokenizer_files": ["../tokenizer.4.0.json"]},
            "fast_tokenizer_files: it leads to other files",
        ),
        ({"vocab_file": "/etc/passwd"}, "vocab_file: it leads out of the folder, to '/etc/passwd'"),
        ({"tokenizer_file": "../tokenizer.json"}, "tokenizer_file: it leads out of the folder"),
    ],
)
def test_tokenizers_that_lead_elsewhere(
    model: Path, settings: Change, values: dict[str, Any], message: str
) -> None:
    settings(model / "tokenizer_config.json", special_tokens_map_file="/content/special_tokens_map.json")
    opened(str(model))
    settings(model / "tokenizer_config.json", **values)
    refused(model, message)


def test_a_file_of_settings_without_end(model: Path) -> None:
    with (model / "config.json").open("r+b") as file:
        file.truncate(1 << 40)
    refused(model, r"config\.json: is larger than any settings")


@pytest.mark.parametrize("loader", ["answer", "distill"])
def test_a_generation_of_its_own(model: Path, marker: Path, loader: str) -> None:
    (model / "custom_generate").mkdir()
    code = f"import pathlib; pathlib.Path({str(marker)!r}).touch()\ndef generate(*_, **__): pass\n"
    (model / "custom_generate" / "generate.py").write_text(code)
    refused(model, "it brings code of its own", LOADERS[loader])


def test_an_adapters_settings_beside_a_model(model: Path, adapter: Path) -> None:
    for path in adapter.iterdir():
        shutil.copyfile(path, model / path.name)
    refused(model, "transformers would load the model that this adapter names")


@pytest.mark.parametrize("missing", [True, False])
def test_an_adapter_of_pickles(model: Path, adapter: Path, bomb: bytes, marker: Path, missing: bool) -> None:
    (adapter / "adapter_model.bin").write_bytes(bomb)
    spec = f"transformers:{model}+{adapter}"
    if not missing:
        opened(spec)
        return
    (adapter / "adapter_model.safetensors").unlink()
    refused(adapter, "has no adapter_model.safetensors, and no pickle is loaded", lambda _: opened(spec))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"megatron_config": {"a": 1}, "megatron_core": "evil"},
            "megatron_config: adapters with it are not loaded",
        ),
        ({"peft_type": "XLORA", "adapters": {"0": "evil/adapter"}}, "peft_type: no adapter of such a kind"),
        (
            {"peft_type": "PROMPT_TUNING", "tokenizer_name_or_path": "evil/model"},
            "peft_type: no adapter of such",
        ),
        ({"layer_replication": [[0, 10**9]]}, "layer_replication: adapters with it are not loaded"),
        ({"r": 10**9}, r"r: it is 1e\+09"),
        ({"r": 64}, "r: a rank of 64, and its matrices have 4 at most"),
        ({"rank_pattern": {"q_proj": 50_000}}, "q_proj: a rank of 50000, and its matrices have 4 at most"),
    ],
)
def test_adapters_that_import_fetch_or_fill_the_memory(
    model: Path, adapter: Path, settings: Change, marker: Path, values: dict[str, Any], message: str
) -> None:
    settings(adapter / "adapter_config.json", **values)
    refused(adapter, message, lambda _: opened(f"transformers:{model}+{adapter}"))


def test_a_run_whose_adapter_lies_elsewhere(model: Path, adapter: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for named in (str(adapter), "../adapter", "linked"):
        (run / "run.json").write_text(json.dumps({"base": str(model), "adapter": named}))
        (run / "linked").unlink(missing_ok=True)
        (run / "linked").symlink_to(adapter)
        refused(run, "which lies outside it; it is not read")
        refused(run, "which lies outside it; it is not read", exported)


HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "overlap": lambda h: h | {"b": entry(0, 8)},
    "gap": lambda h: {"a": entry(4, 12)},
    "past the end": lambda h: {"a": entry(0, 16, [4])},
    "too short": lambda h: {"a": entry(0, 4, [1])},
    "product": lambda h: {"a": entry(0, 8, [3])},
    "negative": lambda h: {"a": entry(0, 8, [-2])},
    "a huge shape": lambda h: {"a": entry(0, 8, [FAR, FAR])},
    "backwards": lambda h: {"a": entry(8, 0)},
    "no type": lambda h: {"a": entry(0, 8) | {"dtype": "F1024"}},
    "true": lambda h: {"a": entry(0, 8, [True, 2])},
    "a text": lambda h: {"a": "x"},
    "a list": lambda h: [],
    "dimensions": lambda h: {"a": entry(0, 8, [1] * 100 + [2])},
    "metadata": lambda h: h | {"__metadata__": {"format": ["pt"]}},
}


def entry(begin: int, end: int, shape: list[Any] | None = None) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape or [2], "data_offsets": [begin, end]}


def header_of(text: bytes, data: bytes = b"\0" * 8) -> bytes:
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_contradicts_itself(
    model: Path, name: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safetensors.safe_open", lambda *_, **__: pytest.fail("the library was reached"))
    header = HEADERS[name]({"a": entry(0, 8)})
    (model / WEIGHTS).write_bytes(header_of(json.dumps(header).encode()))
    refused(model, rf"{WEIGHTS}: (its header is damaged|has .* bytes of)", LOADERS[loader])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 1 << 60) + b"{}",
        header_of(b"[" * 100_000),
        header_of(b'{"a":1,"a":2}'),
        header_of(b'{"a":' + b'{"b":' * 50_000),
        header_of(b"{}" + b"1" * 100),
        header_of(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,8]}}'),
    ],
    ids=lambda content: str(content[:24]),
)
def test_a_header_that_is_none(model: Path, content: bytes) -> None:
    (model / WEIGHTS).write_bytes(content)
    refused(model, rf"{WEIGHTS}: its header is damaged")


def test_a_header_of_a_hundred_megabytes_is_not_parsed(model: Path) -> None:
    with (model / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", 100_000_000))
        file.truncate(100_000_008)
    refused(model, r"it states a header of 100,000,000 bytes, over 16,777,216")


def test_good_headers_of_every_kind_are_read(model: Path) -> None:
    from lmcot_cli.model_files.safetensors_header import read_safetensors_header

    kinds = (torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.bool, torch.uint8)
    tensors = {str(kind): torch.zeros(3, 5).to(kind) for kind in kinds}
    tensors |= {"nothing": torch.zeros(0, 4), "number": torch.tensor(1.0)}
    save_file(tensors, model / WEIGHTS, {"format": "pt"})
    found = read_safetensors_header(model / WEIGHTS)
    assert {name: one.shape for name, one in found.items()} == {n: tuple(t.shape) for n, t in tensors.items()}
