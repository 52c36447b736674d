from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, ModelError
from lmcot_cli.prompts.render import Prompts
from lmcot_export.gguf.write import write_gguf
from lmcot_export.imatrix import collect, importance_of, load, means, save
from lmcot_export.quantize import quantize

PROMPTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Silent Harbor was directed by Marek Fenwell in 1957.",
]


@pytest.fixture(scope="module")
def full(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tiny_llama, tmp_path_factory.mktemp("gguf") / "tiny.gguf", "f32")


def test_activations_are_those_that_torch_computes(tiny_llama: Path, full: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    wanted, count = np.zeros(96), 0

    def watch(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal wanted, count
        wanted += inputs[0][0].double().square().sum(0).numpy()
        count += inputs[0].shape[1]

    model.model.layers[0].mlp.down_proj.register_forward_pre_hook(watch)
    for prompt in PROMPTS:
        message = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        with torch.inference_mode():
            model(tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids)
    found = collect(full, PROMPTS, threads=1)
    layer = found["blk.0.ffn_down.weight"]
    assert layer.count == count
    np.testing.assert_allclose(layer.squares, wanted, rtol=1e-4)
    # All but the embeddings; llama.cpp computes the last layer's and the head's for the tokens that are asked for.
    names = {name.split(".", 2)[-1].removesuffix(".weight") for name in found}
    assert {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"} <= names


def test_a_matrix_is_kept_in_llama_cpps_format(full: Path, tmp_path: Path) -> None:
    collected = collect(full, PROMPTS, threads=1)
    save(tmp_path / "tiny.imatrix.gguf", collected, ["questions.jsonl"])
    loaded = load(tmp_path / "tiny.imatrix.gguf")
    for name, values in means(collected).items():
        np.testing.assert_allclose(loaded[name], values, rtol=1e-6)
    with pytest.raises(ModelError, match="is no importance matrix"):
        load(full)


def test_it_changes_what_quantization_keeps(full: Path, tmp_path: Path) -> None:
    importance = means(collect(full, PROMPTS, threads=1))
    plain = quantize(full, tmp_path / "plain.gguf", "iq4_nl").read_bytes()
    weighed = quantize(full, tmp_path / "weighed.gguf", "iq4_nl", importance=importance).read_bytes()
    assert plain != weighed
    with pytest.raises(ModelError, match="importance matrix"):
        quantize(full, tmp_path / "none.gguf", "iq2_xxs")


def test_questions_are_read_in_any_layout(full: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        json.dumps({"question": "Who directed Silent Harbor?", "context": "It was Marek."}) + "\n"
    )
    importance = importance_of(questions, full, tmp_path / "kept.gguf", role="small", threads=1)
    assert importance.keys() == load(tmp_path / "kept.gguf").keys()
    questions.write_text("{}\n")
    with pytest.raises(InputError, match=r"questions\.jsonl:1"):
        importance_of(questions, full, tmp_path / "kept.gguf", role="small", threads=1)


def test_a_large_lm_is_asked_for_its_own_chains(full: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"question": "Who directed Harbor?", "context": "It was Marek."}) + "\n")
    (row,) = read_rows(questions)
    assert isinstance(row, Row)
    importance = importance_of(questions, full, tmp_path / "kept.gguf", role="large", threads=1)
    expected = means(collect(full, [Prompts().render("cot", row)], threads=1))
    assert all(np.array_equal(importance[name], expected[name]) for name in expected)
