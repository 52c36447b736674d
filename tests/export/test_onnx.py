"""ONNX exports of random models, against torch on the same weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Backend, Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.specs import open_model
from lmcot_cli.backends.torch.backend import TransformersBackend
from lmcot_cli.backends.torch.onnx_backend import OnnxBackend
from lmcot_cli.errors import ModelError, UsageError
from lmcot_export.onnx import export_onnx, quantize_onnx

Folder = Callable[..., Path]
CONTEXT = "In the winter Ana went to Oslo and then to Rome. Her brother Ben stayed. "
PROMPTS = ["the cat", CONTEXT, "a", f"{CONTEXT}Où est le café? 猫", CONTEXT]
ONE_THREAD = EngineOptions(threads=1)
WAYS = [Sampling(max_tokens=12), Sampling(temperature=0.9, top_p=0.9, max_tokens=12)]


def load(spec: str, options: EngineOptions = ONE_THREAD) -> Backend:
    return open_model(spec, role="small", aliases={}, options=options)


def completions(backend: Backend, sampling: Sampling) -> list[Completion]:
    requests = [Request(prompt, seed) for seed, prompt in enumerate(PROMPTS)]
    results = backend.complete(requests, sampling)
    return [result for result in results if isinstance(result, Completion)]


@pytest.fixture(scope="session")
def exported(tiny_folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("onnx")

    def export(family: str) -> Path:
        target = root / family
        return target if target.exists() else export_onnx(tiny_folder(family), target)

    return export


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "t5"])
def test_onnx_runtime_writes_what_torch_writes(
    tiny_folder: Folder, exported: Callable[[str], Path], family: str
) -> None:
    source, folder = tiny_folder(family), exported(family)
    assert not any(folder.parent.glob(".*")), "nothing is left beside the folder"
    with TransformersBackend(source, ONE_THREAD) as torch, load(f"onnx:{folder}") as onnx:
        assert isinstance(onnx, OnnxBackend)
        for sampling in WAYS:
            expected, found = completions(torch, sampling), completions(onnx, sampling)
            assert len(found) == len(PROMPTS)
            for one, other in zip(expected, found, strict=True):
                assert replace(one, logprob=None) == replace(other, logprob=None)
                assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_int8_graphs_are_smaller_and_run(
    exported: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    full, small = exported(family), quantize_onnx(exported(family), tmp_path / "int8")
    with load(str(small)) as backend:
        assert len(completions(backend, WAYS[0])) == len(PROMPTS)
    sizes = [sum(file.stat().st_size for file in folder.glob("*.onnx")) for folder in (full, small)]
    assert sizes[1] < 0.6 * sizes[0]


def test_a_long_prompt_is_read_in_parts(
    tiny_folder: Folder, exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(str(exported("llama"))) as backend:
        whole = completions(backend, WAYS[0])
        monkeypatch.setattr("lmcot_cli.backends.torch.sequences.MAX_LOGITS", 7 * 4 * 330)
        parts = completions(backend, WAYS[0])
    assert [done.text for done in parts] == [done.text for done in whole]


def test_an_export_replaces_the_one_that_is_there(tiny_folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "stale.onnx").write_text("old")
    export_onnx(tiny_folder("llama"), target)
    assert not (target / "stale.onnx").exists()
    assert (target / "tokenizer.json").is_file()


def test_what_cannot_be_exported_is_named(tiny_folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config\.json"):
        export_onnx(tmp_path, tmp_path / "out")
    shutil.copyfile(tiny_folder() / "model.safetensors", tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(ModelError, match="cannot be exported to ONNX"):
        export_onnx(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_without_graphs_and_other_devices_are_refused(
    tmp_path: Path, exported: Callable[[str], Path]
) -> None:
    with pytest.raises(ModelError, match=r"has no \*\.onnx file"):
        load(f"onnx:{tmp_path}")
    with pytest.raises(UsageError, match="--device cuda: ONNX models run on the CPU"):
        load(str(exported("llama")), replace(ONE_THREAD, device="cuda"))
