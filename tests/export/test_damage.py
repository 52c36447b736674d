"""Damaged models: each is refused in one line that names the file, and leaves no export behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from lmcot_cli.errors import ModelError
from lmcot_export.options import ExportOptions
from lmcot_export.run import export

DEEP = "[" * 100_000
Damage = Callable[[Path], object]


def settings(**changes: Any) -> Damage:
    return lambda model: change(model / "config.json", **changes)


def content(name: str, data: str | bytes) -> Damage:
    raw = data.encode() if isinstance(data, str) else data
    return lambda model: (model / name).write_bytes(raw)


def header(text: str) -> Damage:
    return content("model.safetensors", len(text).to_bytes(8, "little") + text.encode())


def without(part: str) -> Damage:
    def drop(model: Path) -> None:
        weights = load_file(model / "model.safetensors")
        kept = {name: tensor for name, tensor in weights.items() if part not in name}
        save_file(kept, model / "model.safetensors", {"format": "pt"})

    return drop


DAMAGE: dict[str, tuple[Damage, str]] = {
    "config: deep": (content("config.json", DEEP), r"config\.json: is not valid JSON"),
    "config: a list": (content("config.json", "[]"), r"config\.json: is not a JSON object"),
    "config: a negative size": (settings(hidden_size=-5), r"config\.json: hidden_size is -5"),
    "config: another size": (settings(hidden_size=128), r"has the shape .* config\.json makes it"),
    "config: no heads": (settings(num_attention_heads=0, head_dim=None), "division"),
    "config: no layers": (settings(num_hidden_layers=0), "num_hidden_layers is 0"),
    "config: layers without end": (settings(num_hidden_layers=10**9), "1000000000 layers"),
    "config: tokens without end": (
        settings(vocab_size=10**12),
        r"vocab_size: it is 1e\+12, and no weight is wider",
    ),
    "generation: torn": (content("generation_config.json", "[1"), r"generation_config\.json: is not valid"),
    "generation: a text": (
        content("generation_config.json", '{"temperature": "x"}'),
        r"generation_config\.json has a value",
    ),
    "generation: ends": (content("generation_config.json", '{"eos_token_id": "x"}'), "eos_token_id is 'x'"),
    "header: deep": (header(DEEP), r"model\.safetensors: its header is damaged"),
    "header: a list": (header("[]"), r"model\.safetensors: its header is damaged"),
    "tokenizer: empty": (
        content("tokenizer.json", "{}"),
        r"tiny: (cannot be loaded:|its tokenizer\.json fails \() ?Model missing",
    ),
    "tokenizer: bytes": (content("tokenizer.json", b"\xff" * 60), r"tokenizer\.json: is not valid JSON"),
    "tokenizer: a list": (content("tokenizer_config.json", "[]"), r"tokenizer_config\.json: is not a JSON"),
    "weights: a layer missing": (without("layers.1."), r"lack model\.layers\.1\.self_attn\.q_proj\.weight"),
    "weights: an end missing": (without("lm_head"), r"lack lm_head\.weight"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_models_are_refused(name: str, tiny_llama: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_llama, tmp_path / "tiny"))
    damage, message = DAMAGE[name]
    damage(model)
    with pytest.raises(ModelError, match=message) as caught:
        export(ExportOptions(model, output=tmp_path / "out", verify=False, threads=1))
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(str(model))
    assert not list((tmp_path / "out").glob("*.gguf*"))


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
