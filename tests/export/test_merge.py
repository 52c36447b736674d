from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from lmcot_cli.errors import ModelError
from lmcot_export.lora import LoraAdapter
from lmcot_export.merge import merge
from tests.tiny_models.layouts import byte_level_tokenizer, random_model

SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "vocab_size": 100,
}  # fmt: skip
LLAMA = LlamaConfig(**SHAPE)
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "all linear layers": (LLAMA, {"target_modules": ALL_LINEAR}),
    "rank-stabilized": (LLAMA, {"target_modules": ["q_proj"], "use_rslora": True, "r": 16}),
    "patterns": (
        LLAMA,
        {
            "target_modules": ALL_LINEAR,
            "rank_pattern": {"k_proj": 2, "layers.1.mlp.up_proj": 6},
            "alpha_pattern": {"v_proj": 64, "0.self_attn.o_proj": 3},
        },
    ),
    "whole modules": (
        LLAMA,
        {"target_modules": ["v_proj"], "modules_to_save": ["lm_head", "embed_tokens", "norm"]},
    ),
    "embeddings": (LLAMA, {"target_modules": ["embed_tokens", "up_proj"]}),
    "biases": (LlamaConfig(**SHAPE, attention_bias=True), {"target_modules": ["q_proj"], "bias": "all"}),
    "tied, output head trained": (
        LlamaConfig(**SHAPE, tie_word_embeddings=True),
        {"target_modules": ["v_proj"], "modules_to_save": ["lm_head"]},
    ),
    "Conv1D": (
        GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, vocab_size=100),
        {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True},
    ),
}


def save_adapter(base: Path, folder: Path, config: Any, options: dict[str, Any]) -> Any:
    """Save a base model and an adapter whose every matrix is random; return peft's model."""
    model = random_model(config)
    model.save_pretrained(base)
    adapted = get_peft_model(
        model, LoraConfig(**{"r": 4, "lora_alpha": 12, "task_type": "CAUSAL_LM", **options})
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    adapted.save_pretrained(folder)
    return adapted.eval()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")  # peft warns of tied weights and of Conv1D
def test_merged_weights_equal_those_of_peft(name: str, tmp_path: Path) -> None:
    config, options = CASES[name]
    adapted = save_adapter(tmp_path / "base", tmp_path / "adapter", config, options)
    merge(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="float32").eval()
    tokens = torch.arange(50)[None]
    with torch.inference_mode():
        wanted, found = adapted(tokens).logits, merged(tokens).logits
    assert (wanted - found).abs().max() < 1e-4
    expected = dict(adapted.merge_and_unload().named_parameters())
    for parameter, tensor in merged.named_parameters():
        torch.testing.assert_close(tensor, expected[parameter], rtol=0, atol=1e-6)


def test_the_adapter_must_be_of_the_base(tmp_path: Path) -> None:
    save_adapter(tmp_path / "base", tmp_path / "adapter", LLAMA, {"target_modules": ["q_proj"]})
    random_model(LlamaConfig(**{**SHAPE, "hidden_size": 64})).save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match="it was trained on another model"):
        merge(tmp_path / "other", tmp_path / "adapter", tmp_path / "merged")
    random_model(LlamaConfig(**{**SHAPE, "num_hidden_layers": 1})).save_pretrained(tmp_path / "small")
    with pytest.raises(ModelError, match="which its base model does not have"):
        merge(tmp_path / "small", tmp_path / "adapter", tmp_path / "merged")


def test_an_adapter_is_never_merged_into_quantized_weights(tmp_path: Path) -> None:
    save_adapter(tmp_path / "base", tmp_path / "adapter", LLAMA, {"target_modules": ["q_proj"]})
    change(tmp_path / "base" / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(ModelError, match=r"its weights are quantized.*--adapter-only"):
        merge(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "IA3"}, "not LoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed the base model's weights"),
    ],
)
def test_adapters_that_cannot_be_added_are_refused(
    setting: dict[str, Any], message: str, tmp_path: Path
) -> None:
    save_adapter(tmp_path / "base", tmp_path / "adapter", LLAMA, {"target_modules": ["q_proj"]})
    change(tmp_path / "adapter" / "adapter_config.json", **setting)
    with pytest.raises(ModelError, match=message) as caught:
        LoraAdapter(tmp_path / "adapter")
    assert "merge_and_unload" in str(caught.value)


def test_the_tokenizer_is_the_adapters_where_it_brings_one(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    save_adapter(base, adapter, LLAMA, {"target_modules": ["q_proj"]})
    byte_level_tokenizer("gpt-2", 300).save_pretrained(base)
    merge(base, adapter, tmp_path / "first")
    shutil.copy(base / "tokenizer_config.json", adapter)
    (adapter / "tokenizer.json").write_text("{}")
    merge(base, adapter, tmp_path / "second")
    assert (tmp_path / "first" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert (tmp_path / "second" / "tokenizer.json").read_text() == "{}"


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
