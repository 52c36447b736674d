from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers
from typer.testing import CliRunner

from lmcot_cli.main import app

runner = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of one layer; its tokenizer is a byte-level BPE of single bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("models") / "one"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({text: id for id, text in enumerate([*alphabet, "Ġa"])}, [("Ġ", "a")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        max_position_embeddings=64, vocab_size=len(fast), bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def export(*arguments: object) -> Any:
    return runner.invoke(app, ["export", *map(str, arguments), "--threads", "1"])


def test_files_are_listed_on_stdout_and_notes_on_stderr(model: Path, tmp_path: Path) -> None:
    result = export(model, "-o", tmp_path, "--quantize", "q8_0", "--no-verify")
    assert result.exit_code == 0, result.output
    assert "q8_0" in result.stdout
    assert "not verified" in result.stdout
    assert "one.f32.gguf" not in result.stdout
    assert "one.f32.gguf: the full-precision file" in result.stderr
    again = export(model, "-o", tmp_path, "--quantize", "q8_0", "--no-verify", "--json")
    report = json.loads(again.stdout)
    assert [(output["type"], output["reused"]) for output in report["outputs"]] == [
        ("f32", True),
        ("q8_0", True),
    ]


def test_an_unknown_type_is_a_usage_error(model: Path) -> None:
    result = export(model, "--quantize", "q3")
    assert result.exit_code == 2
    assert "choose from f32, bf16, f16, q8_0" in result.stderr
    assert "choose from f32, int8" in export(model, "--format", "onnx", "--quantize", "q4_0").stderr


def test_a_changed_chat_template_is_noticed(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "one"))
    assert export(folder, "-o", tmp_path / "out", "--no-verify").exit_code == 0
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<u>{{ m.content }}{% endfor %}")
    written = json.loads(export(folder, "-o", tmp_path / "out", "--no-verify", "--json").stdout)
    assert [output["reused"] for output in written["outputs"]] == [False]


def test_too_few_questions_are_inconclusive_and_fail_unless_that_is_allowed(
    model: Path, tmp_path: Path
) -> None:
    questions, script = tmp_path / "questions.jsonl", tmp_path / "script.jsonl"
    questions.write_text('{"question": "Who?", "context": "An eel.", "answer": "eel"}\n')
    script.write_text('{"match": "Who?", "text": "eel"}\n')
    given = ["-o", tmp_path / "out", "--verify", questions, "--large", f"scripted:{script}"]
    given += ["--threshold", "f32:rationales=none"]
    refused = export(model, "--quantize", "f32", *given)
    assert refused.exit_code == 1
    assert "inconclusive" in refused.stdout
    assert "--allow-inconclusive" in refused.stdout
    assert [path.name for path in (tmp_path / "out").glob("*.gguf*")] == ["one.f32.gguf.unverified"]
    allowed = export(model, "--quantize", "f32", *given, "--allow-inconclusive")
    assert allowed.exit_code == 0, allowed.output
    assert [path.name for path in (tmp_path / "out").glob("*.gguf*")] == ["one.f32.gguf"]
