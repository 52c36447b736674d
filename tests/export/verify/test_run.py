"""Verification of real exports: sound ones pass, and every kind of damage is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file, save_file

from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.errors import InputError, ModelError, UsageError
from lmcot_export.gguf.write import write_gguf
from lmcot_export.onnx import export_onnx, quantize_onnx
from lmcot_export.quantize import quantize
from lmcot_export.verify import Threshold, Verification, VerifyOptions, verify, verify_each
from lmcot_export.verify.options import EXACT
from lmcot_export.verify.plot import draw
from tests.tiny_models.layouts import byte_level_tokenizer, random_model, sentencepiece_tokenizer

SaveModel = Callable[[Any, Any], Path]
Train = Callable[..., Any]
Values = Callable[[str, Any], Any]
Tensors = Callable[[dict[str, np.ndarray]], None]

QUICK = VerifyOptions(rows=6, positions=400, texts=4, written=8, threads=1, rate_steps=1)
SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 2048, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, Any], Path]:
    """Return a function that saves a random model of a configuration with a tokenizer, and returns the folder."""

    def save(config: Any, tokenizer: Any) -> Path:
        folder = tmp_path_factory.mktemp("source")
        config.vocab_size = len(tokenizer)
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
        random_model(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="module")
def source(
    save_model: SaveModel,
) -> Path:
    """A Llama with the tokenizer of Llama 3, whose digits are cut by threes."""
    return save_model(transformers.LlamaConfig(**SIZES), byte_level_tokenizer("llama-bpe", adds_bos=True))


@pytest.fixture(scope="module")
def exported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(source, tmp_path_factory.mktemp("sound") / "model.gguf", "f32")


def rewrite(source: Path, target: Path, values: Values, tensors: Tensors) -> Path:
    """Copy a GGUF file with some metadata (None leaves a key out) or tensors changed."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        value = values(key, field.contents())
        if value is not None:
            sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, value, field.types[0], sub_type)
    data = {tensor.name: tensor.data.copy() for tensor in reader.tensors}
    tensors(data)
    for name, tensor in data.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def value(key: str, change: Callable[[Any], Any]) -> tuple[Values, Tensors]:
    return (lambda found, old: change(old) if found == key else old), (lambda _: None)


def tensor(change: Tensors) -> tuple[Values, Tensors]:
    return (lambda _, old: old), change


def transpose(name: str) -> Tensors:
    return lambda data: data.update({name: np.ascontiguousarray(data[name].T)})


def swap_layers(one: int, other: int) -> Tensors:
    def change(data: dict[str, np.ndarray]) -> None:
        for name in [name for name in data if name.startswith(f"blk.{one}.")]:
            twin = name.replace(f"blk.{one}.", f"blk.{other}.")
            data[name], data[twin] = data[twin], data[name]

    return change


def halves_for_pairs(name: str, heads: int) -> Tensors:
    """Put the rows of each head back into the order of transformers: the permutation left out."""

    def change(data: dict[str, np.ndarray]) -> None:
        old = data[name]
        data[name] = np.ascontiguousarray(
            old.reshape(heads, -1, 2, old.shape[1]).swapaxes(1, 2).reshape(old.shape)
        )

    return change


def spoil(name: str, number: float) -> Tensors:
    def change(data: dict[str, np.ndarray]) -> None:
        data[name][0, 0] = number

    return change


MUTATIONS: dict[str, tuple[tuple[Values, Tensors], str]] = {
    "template: a line break lost": (
        value("tokenizer.chat_template", lambda text: text.replace("<|im_end|>\n", "<|im_end|>")),
        "prompt bytes",
    ),
    "template: left out": (value("tokenizer.chat_template", lambda _: None), "special tokens"),
    "template: not valid": (value("tokenizer.chat_template", lambda _: "{{ 1 + }}"), "load"),
    "eos: another token": (value("tokenizer.ggml.eos_token_id", lambda _: 3), "special tokens"),
    "eos: added to every prompt": (value("tokenizer.ggml.add_eos_token", lambda _: True), "special tokens"),
    "bos: not added": (value("tokenizer.ggml.add_bos_token", lambda _: False), "special tokens"),
    "pre-tokenizer: GPT-2's": (value("tokenizer.ggml.pre", lambda _: "gpt-2"), "token ids"),
    "pre-tokenizer: Qwen2's": (value("tokenizer.ggml.pre", lambda _: "qwen2"), "token ids"),
    "merges: in another order": (
        value("tokenizer.ggml.merges", lambda merges: merges[::-1]),
        "token ids",
    ),
    "rope base": (value("llama.rope.freq_base", lambda base: base * 1.2), "logits"),
    "norm epsilon": (value("llama.attention.layer_norm_rms_epsilon", lambda _: 1e-3), "logits"),
    "a tensor transposed": (tensor(transpose("blk.1.attn_output.weight")), "logits"),
    "query rows not permuted": (tensor(halves_for_pairs("blk.0.attn_q.weight", 4)), "logits"),
    "two layers swapped": (tensor(swap_layers(0, 1)), "logits"),
    "one weight not a number": (tensor(spoil("blk.2.ffn_down.weight", float("nan"))), "logits"),
    "one weight of 64,000 wrong": (tensor(spoil("blk.2.ffn_down.weight", 3.0)), "logits"),
}


@pytest.fixture(scope="module")
def verdicts(
    source: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Verification]:
    """Verify all mutated files in one go: the source is asked once."""
    folder = tmp_path_factory.mktemp("mutated")
    files = {
        rewrite(exported, folder / f"{number}.gguf", *mutation): name
        for number, (name, (mutation, _)) in enumerate(MUTATIONS.items())
    }
    unchanged = rewrite(exported, folder / "unchanged.gguf", *tensor(lambda _: None))
    found = {one.exported: one for one in verify_each(source, [unchanged, *files], QUICK)}
    return {"": found[unchanged]} | {name: found[file] for file, name in files.items()}


def test_a_sound_file_passes_every_check(verdicts: dict[str, Verification]) -> None:
    found = verdicts[""]
    assert found.passed, found.failed
    assert [check.name for check in found.checks] == [
        "token ids", "prompt token ids", "prompt bytes", "special tokens", "logits",
    ]  # fmt: skip
    assert found.type == "f32"
    assert found.figures.everywhere is not None and found.figures.everywhere.positions >= 400
    assert found.figures.everywhere.top1 == 1.0
    assert found.figures.everywhere.kl_max < 1e-6
    assert 32 < found.figures.bits_per_weight < 40
    assert found.figures.tokens_per_second is not None and found.figures.tokens_per_second > 0


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_is_found_by_the_check_that_is_for_it(
    verdicts: dict[str, Verification], name: str
) -> None:
    found, responsible = verdicts[name], MUTATIONS[name][1]
    assert not found.passed
    assert responsible in {check.name for check in found.failed}


FAMILIES = {
    "qwen2": (transformers.Qwen2Config(**SIZES), "qwen2"),
    "qwen3": (transformers.Qwen3Config(**SIZES, head_dim=32), "qwen2"),
    "gemma3": (
        transformers.Gemma3TextConfig(**SIZES, head_dim=32, query_pre_attn_scalar=32, sliding_window=64),
        "sentencepiece",
    ),
    "gpt2": (transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=1024), "gpt-2"),
    "llama": (transformers.LlamaConfig(**SIZES), "sentencepiece"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_sound_files_of_every_family_pass(
    save_model: SaveModel,
    tmp_path: Path,
    family: str,
) -> None:
    config, kind = FAMILIES[family]
    if kind == "sentencepiece":
        sentencepiece_tokenizer(tmp_path / "tokenizer")
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    else:
        tokenizer = byte_level_tokenizer(kind)
    folder = save_model(config, tokenizer)
    found = verify(folder, write_gguf(folder, tmp_path / "model.gguf", "f32"), QUICK)
    assert found.passed, found.failed


def test_quantized_files_are_judged_by_their_own_threshold(
    source: Path, exported: Path, tmp_path: Path
) -> None:
    small = quantize(exported, tmp_path / "q8_0.gguf", "q8_0")
    loose, strict = Threshold(top1=0.5), Threshold(top1=1.0, max_kl=1e-9)
    (found,) = verify_each(source, [small], replace(QUICK, thresholds={"q8_0": loose}))
    assert found.type == "q8_0"
    assert found.passed, found.failed
    assert 8 < found.figures.bits_per_weight < 20  # the vocabulary's texts weigh much in so small a file
    assert not verify(source, small, replace(QUICK, thresholds={"q8_0": strict})).passed


def test_a_file_of_another_model_fails(source: Path, save_model: SaveModel, tmp_path: Path) -> None:
    other = save_model(transformers.LlamaConfig(**SIZES), byte_level_tokenizer("smollm", 400))
    found = verify(source, write_gguf(other, tmp_path / "other.gguf", "f32"), QUICK)
    failed = {check.name: check.detail for check in found.failed}
    assert {"token ids", "special tokens", "logits"} <= failed.keys()
    assert "tokens" in failed["logits"]


def test_what_cannot_be_loaded_is_a_failed_check_and_a_missing_source_an_error(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but no more")
    found = verify(source, tmp_path / "broken.gguf", QUICK)
    assert [(check.name, check.passed) for check in found.checks] == [("load", False)]
    assert not found.passed
    with pytest.raises(ModelError, match=r"config\.json"):
        verify(tmp_path, tmp_path / "broken.gguf", QUICK)
    with pytest.raises(InputError, match="questions"):
        verify(source, tmp_path / "broken.gguf", replace(QUICK, questions=tmp_path / "no-questions.jsonl"))
    with pytest.raises(UsageError, match="rows is 0"):
        VerifyOptions(rows=0)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text(
        "\n".join(json.dumps(record) for record in records(MicroHopOptions(rows=4, distractors=1)))
    )
    return path


def test_answers_of_the_pipeline_are_compared(
    source: Path, exported: Path, questions: Path, tmp_path: Path
) -> None:
    # The large LM answers right whatever the rationale is, so that a sound file loses nothing.
    script = tmp_path / "script.jsonl"
    answers = {
        record["question"]: record["answer"] for record in map(json.loads, questions.read_text().splitlines())
    }
    script.write_text("\n".join(json.dumps({"match": q, "text": a}) for q, a in answers.items()))
    # Random weights find many tokens nearly as likely, and the last bits decide: not all rationales need be equal.
    thresholds = {"f32": replace(EXACT, rationales=0.5)}
    options = replace(QUICK, questions=questions, large=f"scripted:{script}", thresholds=thresholds)
    found = verify(source, exported, options)
    assert (found.verdict, found.failed) == ("inconclusive", ())  # so few rows show nothing
    assert [check.name for check in found.checks][-2:] == ["rationales", "answers"]
    assert found.figures.rows == 4
    assert found.figures.rationales is not None and found.figures.rationales >= 0.5
    assert found.figures.exact_match is not None
    assert found.figures.exact_match.a == found.figures.exact_match.b == 1.0
    record = json.loads(json.dumps(found.to_record()))
    assert (record["passed"], record["verdict"]) == (False, "inconclusive")
    assert record["figures"]["exact_match"]["difference"]["mean"] == 0.0


def test_a_large_lm_is_verified_by_its_own_chains(source: Path, exported: Path, questions: Path) -> None:
    from lmcot_export.verify.answers import answer_with
    from lmcot_export.verify.texts import rationale_prompts

    options = replace(QUICK, questions=questions, role="large", large="scripted:nowhere")
    assert {result.method for result in answer_with(f"gguf:{exported}", options)} == {"cot"}
    assert rationale_prompts(options) != rationale_prompts(replace(options, role="small"))
    found = verify(source, exported, replace(options, thresholds={"f32": replace(EXACT, rationales=0.5)}))
    assert (found.verdict, found.failed) == ("inconclusive", ())  # so few rows show nothing
    assert [check.name for check in found.checks][-2:] == ["rationales", "answers"]


def test_an_export_that_answers_worse_fails(
    source: Path, exported: Path, questions: Path, tmp_path: Path
) -> None:
    # The large LM answers right from the source's rationales alone: it knows each by its text.
    from lmcot_export.verify.answers import answer_with

    probe = tmp_path / "probe.jsonl"
    probe.write_text('{"match": "", "text": "?"}')
    written = answer_with(
        f"transformers:{source}", replace(QUICK, questions=questions, large=f"scripted:{probe}")
    )
    script = tmp_path / "script.jsonl"
    lines = [{"match": one.samples[0].rationale, "text": one.gold[0]} for one in written]
    script.write_text("\n".join(map(json.dumps, [*lines, {"match": "", "text": "wrong"}])))
    broken = rewrite(exported, tmp_path / "broken.gguf", *tensor(swap_layers(0, 1)))
    found = verify(source, broken, replace(QUICK, questions=questions, large=f"scripted:{script}"))
    failed = {check.name: check.detail for check in found.failed}
    assert {"rationales", "answers"} <= failed.keys()
    assert "0 of 4" in failed["rationales"]
    assert "100.0% with the source, 0.0% with the export" in failed["answers"]


def test_onnx_folders_pass_and_a_damaged_one_fails(source: Path, tmp_path: Path) -> None:
    full = export_onnx(source, tmp_path / "full")
    small = quantize_onnx(full, tmp_path / "int8")
    other = shutil.copytree(full, tmp_path / "retold")
    tokenizer = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"eos_token": "<|pad|>"}))
    weights = shutil.copytree(source, tmp_path / "weights")
    tensors = load_file(weights / "model.safetensors")
    name = "model.layers.1.self_attn.o_proj.weight"
    save_file(
        tensors | {name: np.ascontiguousarray(tensors[name].T)},
        weights / "model.safetensors",
        {"format": "pt"},
    )
    turned = export_onnx(weights, tmp_path / "turned")
    options = replace(QUICK, thresholds={"onnx-int8": Threshold(top1=0.3)})
    found = {one.exported.name: one for one in verify_each(source, [full, small, other, turned], options)}
    assert (found["full"].type, found["int8"].type) == ("onnx", "onnx-int8")
    assert found["full"].passed, found["full"].failed
    assert found["int8"].passed, found["int8"].failed
    assert found["int8"].figures.bits_per_weight < 0.6 * found["full"].figures.bits_per_weight
    assert "special tokens" in {check.name for check in found["retold"].failed}
    assert {check.name for check in found["turned"].failed} == {"logits"}


def test_the_picture_shows_passed_and_rejected_files(
    verdicts: dict[str, Verification], tmp_path: Path
) -> None:
    draw(list(verdicts.values()), tmp_path / "choice.png")
    assert (tmp_path / "choice.png").read_bytes().startswith(b"\x89PNG")
