"""A model that has learned where to end ends there in every backend, and its export is not rejected for it.

A base of the Qwen kind: ChatML turns end in `<|im_end|>`, texts in another token, which is the only one that its files
name. Once such a model ran on and on under transformers, and its perfect export was rejected.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.torch.backend import TransformersBackend
from lmcot_cli.backends.torch.onnx_backend import OnnxBackend
from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.row import Row
from lmcot_cli.prompts.render import Prompts
from lmcot_export.options import ExportOptions
from lmcot_export.run import export
from lmcot_train.distill.options import DistillOptions
from lmcot_train.distill.run import distill
from lmcot_train.lora import LoraOptions
from lmcot_train.run_folder import RunFolder

SAMPLING = Sampling(max_tokens=200)


@pytest.fixture(scope="module")
def rows(microhop: Callable[..., list[Row]]) -> list[Row]:
    return microhop(2)


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Callable[..., Path], rows: list[Row]
) -> dict[str, Path]:
    """A run that knows its rows by heart, and one with an adapter on what it had learned."""
    folder = tmp_path_factory.mktemp("runs")
    rationales = folder / "rationales.jsonl"
    rationales.write_text("".join(json.dumps(to_record(row)) + "\n" for row in rows))
    common = DistillOptions(batch_size=2, threads=1, validation_share=0.0)
    full = replace(common, epochs=150, learning_rate=1e-2, full=True)
    lora = replace(common, epochs=2, learning_rate=1e-5, lora=LoraOptions(rank=4, alpha=8))
    distill(rationales, str(tiny_base(chat=True)), folder / "full", full, lambda line: None)
    distill(rationales, str(RunFolder(folder / "full").model), folder / "lora", lora, lambda line: None)
    return {"full": folder / "full", "lora": folder / "lora"}


def replies(backend: LlamaBackend | TransformersBackend | OnnxBackend, rows: list[Row]) -> list[Completion]:
    asked = [Request(Prompts().render("guided_rationale", row), 0) for row in rows]
    with backend:
        found = backend.complete(asked, SAMPLING)
    return [one for one in found if isinstance(one, Completion)]


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_what_was_learned_by_heart_is_written_and_ended_alike_everywhere(
    runs: dict[str, Path], rows: list[Row], kind: str, tmp_path: Path
) -> None:
    folder = runs[kind]
    record = RunFolder(folder).read_finished()
    assert record.results["loss"] < 0.01
    gguf = export(ExportOptions(folder, types=("f32",), output=tmp_path / "gguf", threads=1))
    assert gguf.passed, [output.verification for output in gguf.outputs]
    onnx = export(ExportOptions(folder, format="onnx", types=("f32",), output=tmp_path / "onnx", threads=1))
    assert onnx.passed
    expected = [row.rationale for row in rows]
    for backend in (
        TransformersBackend(folder),
        LlamaBackend(gguf.outputs[0].path),
        OnnxBackend(onnx.outputs[0].path),
    ):
        found = replies(backend, rows)
        assert [one.text.strip() for one in found] == expected, type(backend)
        assert {one.finish_reason for one in found} == {"stop"}, type(backend)


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_run_says_how_its_texts_end(runs: dict[str, Path], kind: str) -> None:
    folder = runs[kind]
    record = RunFolder(folder).read_finished()
    place = RunFolder(folder).adapter if record.adapter else RunFolder(folder).model
    tokens = json.loads((place / "tokenizer.json").read_text())["added_tokens"]
    ids = {token["content"]: token["id"] for token in tokens}
    stated = json.loads((place / "generation_config.json").read_text())["eos_token_id"]
    assert stated[0] == ids["<|im_end|>"]
    assert len(stated) > 1
