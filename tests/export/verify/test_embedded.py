"""Verification of a trained model: the embedded small LM, unpacked into the folder that transformers reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.models import embedded
from lmcot_export.gguf.write import write_gguf
from lmcot_export.quantize import quantize
from lmcot_export.verify import Verification, VerifyOptions, verify_each

ROWS = 8
MODULES = (
    "input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    reader = gguf.GGUFReader(embedded.path_of("builtin:small"))
    unpack(reader, lambda key: reader.fields[key].contents(), folder)
    return folder


def unpack(reader: gguf.GGUFReader, value: Callable[[str], Any], folder: Path) -> None:
    heads, layers = value("llama.attention.head_count"), value("llama.block_count")
    tokens = value("tokenizer.ggml.tokens")
    bos, eos = value("tokenizer.ggml.bos_token_id"), value("tokenizer.ggml.eos_token_id")
    save_file(weights(reader, heads, layers), folder / "model.safetensors", {"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": value("llama.embedding_length"),
        "intermediate_size": value("llama.feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "vocab_size": len(tokens),
        "max_position_embeddings": value("llama.context_length"),
        "rms_norm_eps": value("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": value("llama.rope.freq_base"),
        "tie_word_embeddings": "output.weight" not in {tensor.name for tensor in reader.tensors},
        "bos_token_id": bos,
        "eos_token_id": eos,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([tokens[bos], tokens[eos]])
    tokenizer.post_processor = processors.TemplateProcessing(f"{tokens[bos]} $A", None, [(tokens[bos], bos)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=tokens[bos], eos_token=tokens[eos]
    ).save_pretrained(folder)


def weights(reader: gguf.GGUFReader, heads: int, layers: int) -> dict[str, np.ndarray]:
    """Dequantize the tensors, the rows of rotated heads back in the order of transformers."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    ours = [f"model.layers.{layer}.{module}" for layer in range(layers) for module in MODULES]
    known = {names.get_name(name): name for name in ("model.embed_tokens", "model.norm", "lm_head", *ours)}
    found = {}
    for tensor in reader.tensors:
        name = f"{known[tensor.name.removesuffix('.weight')]}.weight"
        data = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            data = data.reshape(heads, -1, 2, data.shape[1]).swapaxes(1, 2).reshape(data.shape)
        found[name] = np.ascontiguousarray(data)
    return found


@pytest.fixture(scope="module")
def verified(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verification]:
    folder = tmp_path_factory.mktemp("exports")
    full = write_gguf(source, folder / "f32.gguf", "f32")
    exports = [full, *(quantize(full, folder / f"{type}.gguf", type) for type in ("f16", "q8_0", "q4_0"))]
    questions = folder / "questions.jsonl"
    rows = records(MicroHopOptions(rows=ROWS, seed=5))
    questions.write_text("\n".join(json.dumps(record) for record in rows))
    options = VerifyOptions(questions=questions, rows=ROWS, threads=1, rate_steps=8)
    return {found.type: found for found in verify_each(source, exports, options)}


def test_full_precision_is_the_source_rationale_by_rationale(verified: dict[str, Verification]) -> None:
    found = verified["f32"]
    assert not found.failed
    assert found.figures.rationales == 1.0
    assert found.figures.everywhere is not None
    assert found.figures.everywhere.positions > 2000
    assert found.figures.everywhere.top1 == 1.0
    assert found.figures.everywhere.kl_max < 1e-4
    assert found.figures.exact_match is not None
    assert found.figures.exact_match.a == found.figures.exact_match.b > 0


@pytest.mark.parametrize("type", ["f16", "q8_0"])
def test_near_types_keep_99_of_100_first_choices(verified: dict[str, Verification], type: str) -> None:
    found = verified[type]
    assert not found.failed
    assert found.figures.written is not None and found.figures.written.top1 >= 0.99


def test_sizes_and_divergences_fall_and_rise_with_the_bits(verified: dict[str, Verification]) -> None:
    types = ["f32", "f16", "q8_0", "q4_0"]
    sizes = [verified[type].figures.bits_per_weight for type in types]
    written = [verified[type].figures.written for type in types]
    means = [found.kl_mean for found in written if found]
    assert sizes == sorted(sizes, reverse=True)
    assert len(means) == len(types)
    assert means == sorted(means)
