"""Opening models: what is missing or cannot be trained is one line that says what to do."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.model_files.digests import weights_digest
from lmcot_train.lora import LoraOptions
from lmcot_train.models import add_adapter, is_encoder_decoder, open_base, open_run
from lmcot_train.prompting import RationalePrompts
from lmcot_train.run_folder import RunFolder, RunRecord

Base = Callable[..., Path]


def test_the_kind_of_a_model_is_read_from_its_config(tiny_base: Base) -> None:
    assert not is_encoder_decoder(open_base(str(tiny_base())).model)
    assert is_encoder_decoder(open_base(str(tiny_base("t5"))).model)


def test_a_missing_pad_token_is_replaced_and_reported(tiny_base: Base) -> None:
    lines: list[str] = []
    model, tokenizer = open_base(str(tiny_base()), report=lines.append)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == model.config.pad_token_id
    assert len(lines) == 1
    assert "has no pad token" in lines[0]


def test_a_pad_token_that_is_there_is_kept(tiny_base: Base) -> None:
    lines: list[str] = []
    _, tokenizer = open_base(str(tiny_base(pad=True)), report=lines.append)
    assert tokenizer.pad_token == "<pad>"
    assert lines == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nobody/no-such-model", "nobody/no-such-model: no such folder, not in the local cache"),
        ("runs/no such model", "there is no such folder, and it is no hub id"),
    ],
)
def test_a_model_that_is_nowhere_says_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, spec: str, message: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=message):
        open_base(spec)


def test_a_folder_without_safetensors_is_refused(tiny_base: Base, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config.json"):
        open_base(str(tmp_path))
    folder = Path(shutil.copytree(tiny_base(), tmp_path / "base"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safe_serialization=True"):
        open_base(str(folder))


def test_a_tokenizer_without_an_end_of_text_token_is_refused(tiny_base: Base, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_base(), tmp_path / "base"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": None}))
    special = json.loads((folder / "special_tokens_map.json").read_text())
    special.pop("eos_token")
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    with pytest.raises(ModelError, match="no end-of-text token"):
        open_base(str(folder))


def test_a_damaged_model_is_one_line(tiny_base: Base, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_base(), tmp_path / "base"))
    (folder / "config.json").write_text('{"model_type": "no-such-kind"}')
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        open_base(str(folder))
    assert "\n" not in str(caught.value)


def test_targets_that_are_no_layers_are_refused(tiny_base: Base) -> None:
    model, _ = open_base(str(tiny_base()))
    with pytest.raises(ModelError, match="--lora-targets nothing"):
        add_adapter(model, LoraOptions(targets=("nothing",)))


def copied(base: Path, folder: Path) -> Path:
    return Path(shutil.copytree(base, folder / "base"))


def changed(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def one_line(caught: pytest.ExceptionInfo[Exception]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("config.json", {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}),
        (
            "tokenizer_config.json",
            {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}},
        ),
    ],
)
def test_code_that_comes_with_a_model_is_neither_run_nor_asked_about(
    tiny_base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    settings: dict[str, Any],
) -> None:
    folder, ran = copied(tiny_base(), tmp_path), tmp_path / "ran"
    changed(folder / file, **settings)
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: pass\nclass Evil: pass\n")
    monkeypatch.setattr("builtins.input", lambda prompt="": "y")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    with pytest.raises(ModelError, match="brings code of its own, which is not run"):
        open_base(str(folder))
    assert not ran.exists()
    assert capsys.readouterr().out == ""


def test_nothing_in_the_repository_opens_a_model_without_saying_whether_its_code_may_run() -> None:
    root = Path(__file__).parents[2]
    openers = r"(?:AutoConfig|AutoTokenizer|AutoModel\w*|_architecture\(config\)|kind)"
    calls = rf"{openers}\.from_pretrained\(([^()]|\([^()]*\))*\)"
    found = [
        match[0]
        for folder in ("lmcot_cli", "train", "export")
        for path in (root / folder).rglob("*.py")
        for match in re.finditer(calls, path.read_text())
    ]
    assert len(found) >= 9
    assert [call for call in found if "trust_remote_code=" not in call] == []


def test_weights_that_are_missing_are_not_made_up(tiny_base: Base, tmp_path: Path) -> None:
    folder = copied(tiny_base(), tmp_path)
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if ".layers.1." not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelError, match=r"lacks 9 of its weights \(model\.layers\.1\.input_layernorm"
    ) as caught:
        open_base(str(folder))
    one_line(caught)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "t5", "bart"])
def test_tied_embeddings_are_not_missed(tiny_folder: Base, family: str) -> None:
    settings = {"tie_word_embeddings": True} if family == "llama" else {}
    assert open_base(str(tiny_folder(family, **settings))).model is not None


def test_weights_that_are_no_numbers_are_refused(tiny_base: Base, tmp_path: Path) -> None:
    folder = copied(tiny_base(), tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"is damaged: fetch or save it anew \(model\.norm\.weight"):
        open_base(str(folder))


DEEP = "[" * 50_000


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("config.json", "[]"),
        ("config.json", DEEP),
        ("config.json", b"\xff\xfe\x00"),
        ("config.json", {"num_hidden_layers": 1_000_000_000}),
        ("config.json", {"hidden_size": 64}),
        ("config.json", {"vocab_size": 10}),
        ("config.json", {"vocab_size": 10**12}),
        ("config.json", {"hidden_size": -5}),
        ("config.json", {"hidden_size": "many"}),
        ("config.json", {"num_attention_heads": 0}),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", b"\xff\xfe\x00"),
        ("tokenizer_config.json", "[]"),
        ("model.safetensors", 2000),
        ("model.safetensors", 8),
        ("model.safetensors", 0),
        ("model.safetensors", (2).to_bytes(8, "little") + b"[]"),
        ("model.safetensors", len(DEEP).to_bytes(8, "little") + DEEP.encode()),
    ],
    ids=lambda value: str(value)[:40],
)
def test_whatever_is_damaged_is_one_line_that_names_the_folder(
    tiny_base: Base, tmp_path: Path, file: str, damage: str | bytes | int | dict[str, Any]
) -> None:
    folder = copied(tiny_base(), tmp_path)
    match damage:
        case dict():
            changed(folder / file, **damage)
        case int():
            (folder / file).write_bytes((folder / file).read_bytes()[:damage])
        case str():
            (folder / file).write_text(damage)
        case bytes():
            (folder / file).write_bytes(damage)
    with pytest.raises(ModelError, match="fetch or save it anew") as caught:
        open_base(str(folder))
    assert one_line(caught).startswith(str(folder))
    assert len(str(caught.value)) < len(str(folder)) + 320


@pytest.mark.parametrize(
    "template", ["{% if %}", "{{ raise_exception('no') }}", "{{ ''.__class__.mro() }}", "{{ 1 / 0 }}"]
)
def test_a_chat_template_that_fails_is_one_line(
    tiny_base: Base, tmp_path: Path, template: str, microhop: Callable[..., list[Row]]
) -> None:
    folder = copied(tiny_base(chat=True), tmp_path)
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match=f"^{folder}: its chat template does not work") as caught:
        _, tokenizer = open_base(str(folder))
        RationalePrompts(tokenizer, encoder_decoder=False).prompt(microhop(1)[0])
    one_line(caught)


@pytest.fixture
def adapted(tiny_base: Base, tmp_path: Path) -> Path:
    """A run with an adapter."""
    run = RunFolder(tmp_path / "run")
    model, tokenizer = open_base(str(tiny_base()))
    add_adapter(model, LoraOptions(rank=2)).save_pretrained(run.adapter)
    tokenizer.save_pretrained(run.adapter)
    digest = weights_digest(tiny_base())
    run.write(RunRecord("distill", str(tiny_base()), digest, {}, {}, {}, finished=True))
    return run.path


def test_a_damaged_adapter_is_one_line(adapted: Path) -> None:
    folder = adapted / "adapter"
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    whole, settings = weights.read_bytes(), config.read_text()
    tensors = load_file(weights)
    name = min(tensors)
    open_run(adapted)
    weights.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match=f"^{weights}: has .* bytes of"):
        open_run(adapted)
    save_file({key: value for key, value in tensors.items() if key != name}, weights)
    with pytest.raises(ModelError, match=f"^{folder}: lacks 1 of its weights .{name}"):
        open_run(adapted)
    save_file(tensors | {name: tensors[name] * torch.inf}, weights)
    with pytest.raises(ModelError, match=f"^{folder}: is damaged: train it anew"):
        open_run(adapted)
    weights.write_bytes(whole)
    for damage in ("[]", "{}", settings[:50]):
        config.write_text(damage)
        with pytest.raises(ModelError, match=f"^{config}: .*save it anew") as caught:
            open_run(adapted)
        one_line(caught)


def test_a_pickled_adapter_is_not_read(adapted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = adapted / "adapter" / "adapter_model.safetensors"
    torch.save(load_file(weights), weights.with_name("adapter_model.bin"))
    weights.unlink()
    monkeypatch.setattr(torch, "load", lambda *args, **rest: pytest.fail("a pickle was read"))
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors, and no pickle is loaded"):
        open_run(adapted)


def test_a_rank_that_no_matrix_has_is_refused(tiny_base: Base) -> None:
    model, _ = open_base(str(tiny_base()))
    with pytest.raises(UsageError, match="--lora-rank 33: no matrix of this model has a rank over 32"):
        add_adapter(model, LoraOptions(rank=33))


def test_a_name_too_long_for_a_file_is_one_line() -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        open_base("a" * 5000)
