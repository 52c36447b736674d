"""Opening models: what is missing or cannot be trained is one line that says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lmcot_cli.errors import ModelError
from lmcot_train.lora import LoraOptions
from lmcot_train.models import add_adapter, is_encoder_decoder, open_base

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
