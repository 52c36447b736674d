from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast, Qwen2Config

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.adapters import Adapter, parse_adapters
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.errors import ModelError, UsageError
from lmcot_export.gguf.adapter import write_adapter
from lmcot_export.gguf.write import write_gguf
from lmcot_export.merge import merge
from lmcot_export.quantize import quantize
from tests.tiny_models.layouts import byte_level_tokenizer, random_model

SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
GREEDY = Sampling(max_tokens=24)
ENGINE = EngineOptions(threads=1, parallel=4)
PROMPTS = ["The quick brown", "Silent Harbor was", "def answer(x):"]
CASES: dict[str, tuple[PretrainedConfig, dict[str, Any]]] = {
    "llama": (
        LlamaConfig(**SHAPE),
        {
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"],
            "rank_pattern": {"k_proj": 2},
        },
    ),
    "qwen2 rank-stabilized": (
        Qwen2Config(**SHAPE),
        {"target_modules": ["q_proj", "down_proj"], "use_rslora": True},
    ),
    "gpt2": (
        GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=256),
        {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True},
    ),
}


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_level_tokenizer("gpt-2")


def save(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    name: str,
    seed: int = 1,
) -> None:
    config, options = CASES[name]
    config.vocab_size = len(tokenizer)
    model = random_model(config)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=12, task_type="CAUSAL_LM", **options))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.2)
    adapted.save_pretrained(folder / f"adapter{seed}")


TOLERANCE = {"gpt2": 5e-4}
"""ggml's GELU is a table of half-precision numbers: its steps are 2^-11 of a value, and which one is taken turns on
last bits, which differ between processors (1.5e-4 was seen on one with AVX512-BF16)."""


def completions(path: Path, *adapters: Adapter) -> list[tuple[str, float]]:
    """Return greedy completions with their mean log-probabilities."""
    with LlamaBackend(path, ENGINE, adapters=adapters) as backend:
        replies = backend.complete([Request(prompt, 0) for prompt in PROMPTS], GREEDY)
    return [(reply.text, reply.logprob) for reply in replies]  # type: ignore[union-attr, misc]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_an_adapter_on_the_base_is_the_merged_model(
    name: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save(tmp_path, tokenizer, name)
    base, adapter = tmp_path / "base", tmp_path / "adapter1"
    merge(base, adapter, tmp_path / "merged")
    write_gguf(tmp_path / "merged", tmp_path / "merged.gguf", "f32")
    write_gguf(base, tmp_path / "base.gguf", "f32")
    lora = Adapter("lora", write_adapter(base, adapter, tmp_path / "lora.gguf", name="lora"))
    merged, added = completions(tmp_path / "merged.gguf"), completions(tmp_path / "base.gguf", lora)
    assert [text for text, _ in added] == [text for text, _ in merged]
    np.testing.assert_allclose([p for _, p in added], [p for _, p in merged], atol=TOLERANCE.get(name, 1e-4))
    assert added != completions(tmp_path / "base.gguf")


def test_adapters_go_over_any_quantization_and_add_up(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    for seed in (1, 2):
        save(tmp_path, tokenizer, "llama", seed)
        write_adapter(
            tmp_path / "base", tmp_path / f"adapter{seed}", tmp_path / f"{seed}.gguf", name=str(seed)
        )
    full = write_gguf(tmp_path / "base", tmp_path / "base.gguf", "f32")
    small = quantize(full, tmp_path / "base.q8_0.gguf", "q8_0")
    one, two = Adapter("one", tmp_path / "1.gguf"), Adapter("two", tmp_path / "2.gguf")
    results = [completions(small, *adapters) for adapters in ((), (one,), (two,), (one, two))]
    assert len({tuple(result) for result in results}) == 4
    off = (Adapter("one", one.path, 0.0), Adapter("two", two.path, 0.0))
    assert completions(small, *off) == results[0]
    with LlamaBackend(small, ENGINE, adapters=(one, two)) as backend:
        assert "one=" in backend.identity.spec
        assert len(str(backend.identity.digest).split(" + ")) == 3


def test_the_adapter_of_another_model_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    save(tmp_path / "a", tokenizer, "qwen2 rank-stabilized")
    save(tmp_path / "b", tokenizer, "llama")
    full = write_gguf(tmp_path / "b" / "base", tmp_path / "b.gguf", "f32")
    lora = write_adapter(tmp_path / "a" / "base", tmp_path / "a" / "adapter1", tmp_path / "a.gguf", name="a")
    with pytest.raises(ModelError, match="cannot be added"):
        LlamaBackend(full, ENGINE, adapters=[Adapter("a", lora)])
    with pytest.raises(ModelError, match="no such adapter"):
        LlamaBackend(full, ENGINE, adapters=[Adapter("a", tmp_path / "missing.gguf")])


def test_adapters_are_written_as_name_file_and_scale() -> None:
    assert parse_adapters(["x/a.gguf", "b=y.gguf:0.5", "c=dir=1/z.gguf"]) == (
        Adapter("a", Path("x/a.gguf")),
        Adapter("b", Path("y.gguf"), 0.5),
        Adapter("c", Path("dir=1/z.gguf")),
    )
    with pytest.raises(UsageError, match="called a already"):
        parse_adapters(["a.gguf", "other/a.gguf"])
