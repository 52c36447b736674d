from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.errors import InputError, ModelError, OutputError, UsageError
from lmcot_cli.files import hex_digest
from lmcot_export.manifest import Manifest
from lmcot_export.options import ExportOptions
from lmcot_export.outcome import ExportReport
from lmcot_export.run import export


@pytest.fixture
def model(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "tiny"))


@pytest.fixture
def run_folder(model: Path, tmp_path: Path) -> Path:
    """A run of `lmcot train` that trained a LoRA adapter on `model`."""
    folder = tmp_path / "runs" / "first"
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model),
        LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    adapted.save_pretrained(folder / "adapter")
    run = {"format": 1, "kind": "distill", "base": str(model), "adapter": "adapter"}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def run(source: Path | None, output: Path | None = None, **settings: Any) -> ExportReport:
    return export(ExportOptions(source, output=output, **{"verify": False, "threads": 1, **settings}))


def files(report: ExportReport) -> list[tuple[str, bool]]:
    return [(output.path.name, output.reused) for output in report.outputs]


def test_several_types_in_one_go_with_a_manifest(model: Path, tmp_path: Path) -> None:
    report = run(model, tmp_path / "out", types=("q4_0", "q8_0"))
    assert files(report) == [("tiny.f32.gguf", False), ("tiny.q4_0.gguf", False), ("tiny.q8_0.gguf", False)]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(manifest["outputs"]) == {"tiny.f32.gguf", "tiny.q4_0.gguf", "tiny.q8_0.gguf"}
    assert {"model.safetensors", "config.json"} <= set(manifest["source"]["files"])
    assert "tokenizer.json" in manifest["tokenizer"]
    assert manifest["adapter"] is None
    for output in report.outputs:
        LlamaModel(output.path).close()
    assert not list((tmp_path / "out").glob(".*"))


def test_what_was_made_from_something_else_is_made_anew(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(model, out, types=("q8_0",))
    again = run(model, out, types=("q8_0",))
    assert files(again) == [("tiny.f32.gguf", True), ("tiny.q8_0.gguf", True)]
    assert any("used again" in note for note in again.notes)
    change(model / "config.json", rms_norm_eps=1e-3)
    assert not any(reused for _, reused in files(run(model, out, types=("q8_0",))))
    damaged = first.outputs[1].path
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert files(run(model, out, types=("q8_0",))) == [("tiny.f32.gguf", True), ("tiny.q8_0.gguf", False)]
    change(model / "tokenizer_config.json", chat_template="{{ messages }}")
    assert not any(reused for _, reused in files(run(model, out, types=("q8_0",))))


def test_a_run_is_merged_and_exported(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_folder.parent.parent)
    report = run(None)
    assert report.folder.resolve() == run_folder / "export"
    assert files(report) == [("first.f16.gguf", False)]
    assert (run_folder / "export" / "merged" / "model.safetensors").is_file()
    manifest = json.loads((run_folder / "export" / "manifest.json").read_text())
    assert set(manifest["adapter"]["files"]) == {"adapter_model.safetensors", "adapter_config.json"}
    assert files(run(None)) == [("first.f16.gguf", True)]
    only = run(run_folder, adapter_only=True)
    assert files(only) == [("first.lora.gguf", False)]


def test_a_type_that_cannot_take_the_rows_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"rows of a multiple of 256 .*choose from q8_0"):
        run(model, tmp_path / "out", types=("q4_k_m",))
    assert not list((tmp_path / "out").glob("*q4_k_m*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_is_full_or_closed_is_said_in_a_line(
    code: int, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "replace", fail)
    said = "No space left on device; free some space" if code == errno.ENOSPC else "cannot be written"
    with pytest.raises(OutputError, match=said):
        run(model, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))


def test_a_checkouts_converter_can_write_the_full_precision_file(model: Path, tmp_path: Path) -> None:
    """A stand-in for llama.cpp's script, with its command line: it copies what we wrote before."""
    written = run(model, tmp_path / "first", types=("f32",)).outputs[0].path
    checkout = tmp_path / "llama.cpp"
    checkout.mkdir()
    script = checkout / "convert_hf_to_gguf.py"
    script.write_text(
        "import shutil, sys\n"
        "model, outfile, target, outtype, type = sys.argv[1:]\n"
        "assert (outfile, outtype, type) == ('--outfile', '--outtype', 'f32')\n"
        f"shutil.copy({str(written)!r}, target)\n"
    )
    report = run(model, tmp_path / "out", types=("q8_0",), converter=checkout)
    assert files(report) == [("tiny.f32.gguf", False), ("tiny.q8_0.gguf", False)]
    script.write_text("import sys\nsys.exit('Model NewForCausalLM is not supported')\n")
    with pytest.raises(ModelError, match=r"failed on .*: Model NewForCausalLM is not supported$"):
        run(model, tmp_path / "out", types=("q8_0",), converter=checkout)
    script.write_text("print('loading')\nraise NotImplementedError('unknown pre-tokenizer')\n")
    with pytest.raises(ModelError, match=r"failed on .*: NotImplementedError: unknown pre-tokenizer$"):
        run(model, tmp_path / "out", types=("q8_0",), converter=checkout)
    with pytest.raises(UsageError, match=r"has no convert_hf_to_gguf\.py"):
        run(model, tmp_path / "out", converter=tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recommend": True}, "--recommend needs"),
        ({"questions": Path("x")}, "--verify needs"),
        ({"adapter_only": True, "types": ("q8_0",)}, "not quantized"),
        ({"format": "onnx", "imatrix": Path("x")}, "--imatrix is for --format gguf"),
    ],
)
def test_options_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportOptions(**{"verify": False, **settings})


def test_what_is_no_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no run"):
        run(None)
    with pytest.raises(ModelError, match="no such folder"):
        run(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        run(tmp_path / "empty", tmp_path / "out")


def test_pickled_weights_are_refused(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no pickle is loaded"):
        run(model, tmp_path / "out")


def test_no_compiler_is_needed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert not any(shutil.which(name) for name in ("cc", "gcc", "g++", "clang", "cmake", "make"))
    assert run(model, tmp_path / "out", types=("q4_0",)).passed


def test_verification_renames_what_fails(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = export(ExportOptions(model, types=("f32",), output=tmp_path / "out", threads=1, recommend=True))
    assert report.passed
    assert report.recommendation is not None
    verified = json.loads((tmp_path / "out" / "verify.json").read_text())
    assert verified["tiny.f32.gguf"]["passed"] is True
    broken = break_the_writer(monkeypatch)
    report = export(ExportOptions(model, types=("f32",), output=tmp_path / "out2", threads=1))
    assert broken
    assert not report.passed
    assert [output.path.name for output in report.outputs] == ["tiny.f32.gguf.rejected"]
    assert not (tmp_path / "out2" / "tiny.f32.gguf").exists()


def test_the_base_is_never_overwritten(model: Path, run_folder: Path) -> None:
    base = Path(shutil.move(model, model.parent / "merged"))
    change(run_folder / "run.json", base=str(base))
    before = digests(base)
    (base.parent / "link").symlink_to(base.parent)
    for output in (base.parent, base.parent / "link"):
        with pytest.raises(OutputError, match=r"merged: the merged model would overwrite .*another -o"):
            run(run_folder, output)
    assert digests(base) == before


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tiny.f16.gguf", {}),
        ("tiny.q8_0.gguf", {"types": ("q8_0",)}),
        ("tiny.f16.gguf", {"verify": True}),
        ("tiny.f16.gguf.rejected", {"verify": True}),
        ("verify.json", {"verify": True}),
        ("manifest.json", {}),
    ],
)
def test_what_no_export_wrote_is_left_alone(
    name: str, settings: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir()
    mine.write_text("precious")
    with pytest.raises(OutputError, match=rf"{name}: is in the way.*another -o"):
        run(model, mine.parent, **settings)
    assert mine.read_text() == "precious"
    mine.unlink()
    assert run(model, mine.parent, **settings).passed


@pytest.mark.parametrize("name", ["merged/notes.txt", "first.lora.gguf"])
def test_a_run_is_exported_over_nothing_of_the_users(name: str, run_folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(OutputError, match="is in the way"):
        run(run_folder, tmp_path / "out", adapter_only=name.endswith("gguf"))
    assert mine.read_text() == "precious"


def test_what_a_killed_export_left_is_made_anew(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Manifest, path: Path, made_from: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Manifest, "record", killed)
        run(model, tmp_path / "out")
    assert (tmp_path / "out" / "tiny.f16.gguf").is_file()
    assert files(run(model, tmp_path / "out")) == [("tiny.f16.gguf", False)]


def test_what_could_not_be_verified_has_not_its_final_name(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    missing: dict[str, Any] = {"verify": True, "types": ("f32",), "questions": tmp_path / "missing.jsonl"}
    with pytest.raises(InputError, match="missing"):
        run(model, out, **missing)
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "tiny.f32.gguf.unverified"]
    assert files(run(model, out, verify=True, types=("f32",))) == [("tiny.f32.gguf", True)]
    with pytest.raises(InputError, match="missing"):
        run(model, out, **missing)
    assert (out / "tiny.f32.gguf").is_file()  # it has passed before
    change(model / "config.json", rms_norm_eps=1e-3)
    with pytest.raises(InputError, match="missing"):
        run(model, out, **missing)
    assert not (out / "tiny.f32.gguf").exists()
    assert files(run(model, out, types=("f32",))) == [("tiny.f32.gguf", True)]  # nobody asks for verification
    assert not (out / "tiny.f32.gguf.unverified").exists()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hex_digest(path) for path in folder.iterdir()}


def break_the_writer(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let the writer lose the rotation of queries and keys."""
    from lmcot_export.gguf import families

    called: list[bool] = []

    def unturned(weight: Any, heads: int) -> Any:
        called.append(True)
        return weight

    monkeypatch.setattr(families, "interleave", unturned)
    return called


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
