"""Distillation as a whole, on tiny models: what changes, what is left, what a killed run goes on from."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, ModelError, OutputError, UsageError
from lmcot_cli.interrupts import listening
from lmcot_cli.model_files.digests import weights_digest
from lmcot_cli.model_files.weights import PICKLES
from lmcot_cli.prompts.options import PromptOptions
from lmcot_train.distill import run as module
from lmcot_train.distill.options import DistillOptions
from lmcot_train.distill.run import distill
from lmcot_train.distill.trainers import Splits, arguments
from lmcot_train.lora import LoraOptions
from lmcot_train.models import open_base, open_run
from lmcot_train.plain_state import last_checkpoint
from lmcot_train.run_folder import RunFolder

OPTIONS = DistillOptions(epochs=2, batch_size=8, learning_rate=1e-2, threads=1)

Rows = Callable[..., list[Row]]
Base = Callable[..., Path]


def silent(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def rationales(tmp_path_factory: pytest.TempPathFactory, microhop: Rows) -> Path:
    """18 rows, so that an epoch has two steps of eight and two rows validate."""
    path = tmp_path_factory.mktemp("data") / "rationales.jsonl"
    path.write_text("".join(json.dumps(to_record(row)) + "\n" for row in microhop(18)))
    return path


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Base, rationales: Path
) -> tuple[Path, list[str]]:
    """A finished run, and the lines that it reported."""
    output, lines = tmp_path_factory.mktemp("runs") / "distilled", list[str]()
    distill(rationales, str(tiny_base()), output, OPTIONS, lines.append)
    return output, lines


def test_a_run_leaves_adapter_metrics_curves_and_record(
    finished: tuple[Path, list[str]], tiny_base: Base
) -> None:
    output, lines = finished
    record = RunFolder(output).read_finished()
    assert (record.kind, record.adapter, record.parent) == ("distill", "adapter", None)
    assert record.base == str(tiny_base())
    assert record.base_digest == weights_digest(tiny_base())
    assert record.seeds == {"distill": 0}
    assert record.settings["learning_rate"] == 1e-2
    assert list(record.data) == ["rationales.jsonl"]
    assert record.versions["torch"] == torch.__version__
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [m["step"] for m in metrics if "loss" in m] == [1, 2, 3, 4]
    assert [m["step"] for m in metrics if "validation_loss" in m] == [1, 2, 3, 4]
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "adapter" / "tokenizer.json").is_file()
    assert not (output / "checkpoints").exists()
    assert not list(output.rglob("*.bin"))
    assert any("has no pad token" in line for line in lines)


def test_examples_and_a_system_message_stand_before_what_is_learned(
    tiny_base: Base, rationales: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lengths: list[float] = []

    def build(opened: Any, splits: Splits, *others: Any) -> Any:
        lengths.append(sum(map(len, splits.train["input_ids"])) / len(splits.train))
        return original(opened, splits, *others)

    original = module.build_trainer
    monkeypatch.setattr(module, "build_trainer", build)
    shown = PromptOptions(shots=1, shots_from=rationales, small_system="Write facts.")
    options = replace(OPTIONS, epochs=1)
    distill(rationales, str(tiny_base()), tmp_path / "plain", options, silent)
    distill(rationales, str(tiny_base()), tmp_path / "shown", replace(options, prompting=shown), silent)
    assert lengths[1] > 1.6 * lengths[0]
    settings = RunFolder(tmp_path / "shown").read_finished().settings
    assert (settings["shots"], settings["shots_by"], settings["small_system"]) == (1, "first", "Write facts.")
    with pytest.raises(OutputError, match=r"shots 1 -> 0; .*small_system Write facts\. -> null"):
        distill(rationales, str(tiny_base()), tmp_path / "shown", options, silent)


def test_the_adapter_changes_and_nothing_else(
    finished: tuple[Path, list[str]],
    tiny_base: Base,
    rationales: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    trainers: list[Any] = []
    before: dict[str, torch.Tensor] = {}

    def build(*args: Any) -> Any:
        trainer = original(*args)
        before.update({name: weight.detach().clone() for name, weight in trainer.model.named_parameters()})
        trainers.append(trainer)
        return trainer

    original = module.build_trainer
    monkeypatch.setattr(module, "build_trainer", build)
    digest = weights_digest(tiny_base())
    distill(rationales, str(tiny_base()), tmp_path / "run", OPTIONS, silent)
    after = dict(trainers[0].model.named_parameters())
    assert before.keys() == after.keys()
    adapter = {name for name in before if "lora_" in name}
    assert len(adapter) == 2 * 2 * 7  # A and B of seven linear layers in each of two blocks
    assert {name for name in before if not torch.equal(before[name], after[name])} == adapter
    assert {name for name, weight in after.items() if weight.requires_grad} == adapter
    assert weights_digest(tiny_base()) == digest
    saved = load_file(finished[0] / "adapter" / "adapter_model.safetensors")
    assert {f"{name.removesuffix('.weight')}.default.weight" for name in saved} == adapter


def test_a_finished_run_opens_as_base_with_adapter(finished: tuple[Path, list[str]], tiny_base: Base) -> None:
    model, tokenizer = open_run(finished[0])
    base, _ = open_base(str(tiny_base()))
    ids = tokenizer("Question: Who?", return_tensors="pt").input_ids
    assert not torch.allclose(model(ids).logits, base(ids).logits)
    with model.disable_adapter():
        assert torch.equal(model(ids).logits, base(ids).logits)


def test_an_adapter_is_refused_once_its_base_has_changed(
    finished: tuple[Path, list[str]], tiny_base: Base, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write(replace(RunFolder(finished[0]).read(), base_digest="sha256:another"))
    with pytest.raises(ModelError, match="not the one it was trained on"):
        open_run(run.path)


def test_all_weights_of_an_encoder_decoder_learn(tiny_base: Base, rationales: Path, tmp_path: Path) -> None:
    base = tiny_base("t5")
    options = replace(OPTIONS, full=True)
    record = distill(rationales, str(base), tmp_path / "run", options, silent)
    assert record.adapter is None
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert record.results["best_validation_loss"] < first["loss"] - 0.1
    model, _ = open_run(tmp_path / "run")
    untrained, _ = open_base(str(base))
    changed = [
        not torch.equal(one, other)
        for one, other in zip(model.parameters(), untrained.parameters(), strict=True)
    ]
    assert all(changed)


def test_a_chat_model_with_a_pad_token_needs_no_note(
    tiny_base: Base, rationales: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    options = replace(OPTIONS, epochs=1, lora=LoraOptions(rank=2, targets=("q_proj", "v_proj")))
    distill(rationales, str(tiny_base(chat=True, pad=True)), tmp_path / "run", options, lines.append)
    assert not any("pad token" in line for line in lines)
    saved = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in saved} == {"q_proj", "v_proj"}


def interrupted_at(step: int) -> Callable[[str], None]:
    """Return a report that, in the middle of the second epoch, say, presses Ctrl-C when a step is done."""

    def report(line: str) -> None:
        if line.startswith(f"step {step:>6} of") and "validation" not in line:
            raise KeyboardInterrupt

    return report


def test_an_interrupted_run_ends_as_one_that_was_not(
    finished: tuple[Path, list[str]], tiny_base: Base, rationales: Path, tmp_path: Path
) -> None:
    output, lines = tmp_path / "run", list[str]()
    with pytest.raises(KeyboardInterrupt):
        distill(rationales, str(tiny_base()), output, OPTIONS, interrupted_at(4))
    assert not RunFolder(output).read().finished
    (output / "checkpoints" / "checkpoint-4").mkdir(exist_ok=True)  # torn: it holds no state
    distill(rationales, str(tiny_base()), output, OPTIONS, lines.append)
    assert any(line.startswith("continuing from") and line.endswith("checkpoint-3") for line in lines)
    one, other = (
        load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (output, finished[0])
    )
    assert all(torch.equal(one[name], other[name]) for name in other)
    metrics = [(folder / "metrics.jsonl").read_text() for folder in (output, finished[0])]
    assert metrics[0] == metrics[1]


def test_a_first_ctrl_c_keeps_the_step_and_the_run_ends_as_one_that_was_not_interrupted(
    finished: tuple[Path, list[str]], tiny_base: Base, rationales: Path, tmp_path: Path
) -> None:
    output, lines = tmp_path / "run", list[str]()

    def press(line: str) -> None:
        lines.append(line)
        if line.startswith(f"step {4:>6} of") and "validation" not in line:
            os.kill(os.getpid(), signal.SIGINT)

    with listening(), pytest.raises(KeyboardInterrupt):
        distill(rationales, str(tiny_base()), output, OPTIONS, press)
    distill(rationales, str(tiny_base()), output, OPTIONS, lines.append)
    one, other = (
        load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (output, finished[0])
    )

    kept = [line for line in lines if line.startswith("interrupted")]
    assert [line.rpartition("-")[2] for line in kept] in (["4"], ["5"])
    assert any(line.startswith("continuing from") for line in lines)
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_finished_run_is_left_alone_and_other_settings_are_refused(
    finished: tuple[Path, list[str]], tiny_base: Base, rationales: Path
) -> None:
    output, lines = finished[0], list[str]()
    before = (output / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    distill(rationales, str(tiny_base()), output, OPTIONS, lines.append)
    assert lines[-1].endswith("is finished already; --overwrite trains it anew")
    assert (output / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match=r"learning_rate 0.01 -> 0.1.*--overwrite"):
        distill(rationales, str(tiny_base()), output, replace(OPTIONS, learning_rate=0.1), silent)


def test_training_stops_when_validation_gets_no_better(
    tiny_base: Base, rationales: Path, tmp_path: Path
) -> None:
    options = replace(OPTIONS, epochs=6, learning_rate=1e-30, patience=1)
    record = distill(rationales, str(tiny_base()), tmp_path / "run", options, silent)
    assert (record.results["best_step"], record.results["steps"]) == (1, 2)  # of 12


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Make the system refuse to let a file grow further, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "limit", [20_000, 100_000]
)  # bytes: room for no adapter; for that, not for the optimizer
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    finished: tuple[Path, list[str]], tiny_base: Base, rationales: Path, tmp_path: Path, limit: int
) -> None:
    output = tmp_path / "run"
    with no_file_longer_than(limit), pytest.raises(OutputError, match="run the same command again") as caught:
        distill(rationales, str(tiny_base()), output, OPTIONS, silent)
    assert "\n" not in str(caught.value)
    distill(rationales, str(tiny_base()), output, OPTIONS, silent)
    one, other = (
        load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (output, finished[0])
    )
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_the_last_whole_checkpoint_is_found(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step, state in ((9, "{}"), (10, "{}"), (11, '{"torn'), (12, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_options_out_of_range_name_themselves(tiny_base: Base, rationales: Path, tmp_path: Path) -> None:
    for options, message in (
        (replace(OPTIONS, epochs=0), "--epochs 0"),
        (replace(OPTIONS, learning_rate=-1.0), "--learning-rate -1"),
        (replace(OPTIONS, learning_rate=nan), "--learning-rate nan"),
        (replace(OPTIONS, learning_rate=inf), "--learning-rate inf"),
        (replace(OPTIONS, weight_decay=nan), "--weight-decay nan"),
        (replace(OPTIONS, warmup=nan), "--warmup nan"),
        (replace(OPTIONS, lora=LoraOptions(dropout=nan)), "--lora-dropout nan"),
        (replace(OPTIONS, validation_share=nan), "--validation-share nan"),
        (replace(OPTIONS, validation_share=1.0), "--validation-share 1"),
        (replace(OPTIONS, seed=-1), "--seed -1: give a number from 0 to 4,294,967,295"),
        (replace(OPTIONS, seed=99_999_999_999), "--seed 99999999999"),
        (replace(OPTIONS, batch_size=10**22), f"--batch-size {10**22}: give a number from 1 to 1,000,000"),
        (replace(OPTIONS, epochs=10**22), f"--epochs {10**22}"),
        (replace(OPTIONS, threads=10**22), f"--threads {10**22}"),
        (replace(OPTIONS, max_tokens=0), "--max-tokens 0"),
        (replace(OPTIONS, weight_decay=-5.0), "--weight-decay -5"),
        (replace(OPTIONS, lora=LoraOptions(alpha=-3)), "--lora-alpha -3"),
        (replace(OPTIONS, lora=LoraOptions(rank=10**9)), "--lora-rank 1000000000"),
        (replace(OPTIONS, lora=LoraOptions(rank=1000)), "--lora-rank 1000: no matrix of this model"),
        (
            replace(OPTIONS, batch_size=16, micro_batch=6),
            "--micro-batch 6: give a number that divides the 16 rows",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            distill(rationales, str(tiny_base()), tmp_path / "run", options, silent)


def test_a_step_has_the_rows_it_is_to_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--batch-size 16: give a multiple of the 3 processes"):
        DistillOptions(batch_size=16).check(processes=3)
    with pytest.raises(UsageError, match="--micro-batch 5: give a number that divides the 8 rows"):
        DistillOptions(batch_size=16, micro_batch=5).check(processes=2)
    rows = Dataset.from_dict({"input_ids": [[1]] * 48})
    for micro_batch in (None, 1, 4, 16, 32):
        options = DistillOptions(batch_size=16, micro_batch=micro_batch)
        options.check()
        made = arguments(options, RunFolder(tmp_path), Splits(rows, None), encoder=False)
        assert made.per_device_train_batch_size * made.gradient_accumulation_steps == 16


def test_rows_that_are_all_too_long_leave_nothing_behind(
    tiny_base: Base, rationales: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--max-tokens"):
        distill(rationales, str(tiny_base()), tmp_path / "run", replace(OPTIONS, max_tokens=5), silent)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_weights_that_are_no_numbers_are_no_finished_run(
    tiny_base: Base, rationales: Path, tmp_path: Path, share: float
) -> None:
    options = replace(OPTIONS, learning_rate=1e38, warmup=0.0, full=True, validation_share=share)
    with pytest.raises(ModelError, match="lower --learning-rate, and start anew with --overwrite") as caught:
        distill(rationales, str(tiny_base()), tmp_path / "run", options, silent)
    assert "\n" not in str(caught.value)
    assert not RunFolder(tmp_path / "run").read().finished


def test_what_is_learned_last_is_looked_at_too(
    tiny_base: Base, rationales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step can spoil the weights, and no loss is measured after it."""

    def spoil(trainer: Any, *args: Any, **rest: Any) -> None:
        with torch.no_grad():
            next(w for w in trainer.model.parameters() if w.requires_grad).fill_(nan)

    monkeypatch.setattr("lmcot_train.distill.trainers.CausalTrainer.train", spoil)
    with pytest.raises(ModelError, match=r"learned nothing useful: lower --learning-rate.*lora_A"):
        distill(rationales, str(tiny_base()), tmp_path / "run", OPTIONS, silent)
    assert not RunFolder(tmp_path / "run").read().finished
    assert not RunFolder(tmp_path / "run").adapter.exists()


@pytest.mark.parametrize("file", ["optimizer.safetensors", "adapter_model.safetensors", "generators_0.json"])
def test_a_checkpoint_that_a_crash_tore_is_passed_over(
    finished: tuple[Path, list[str]], tiny_base: Base, rationales: Path, tmp_path: Path, file: str
) -> None:
    output, lines = tmp_path / "run", list[str]()
    with pytest.raises(KeyboardInterrupt):
        distill(rationales, str(tiny_base()), output, OPTIONS, interrupted_at(4))
    torn = output / "checkpoints" / "checkpoint-3" / file
    torn.write_bytes(torn.read_bytes()[:-300])
    distill(rationales, str(tiny_base()), output, OPTIONS, lines.append)
    assert any(line.startswith("continuing from") and line.endswith("checkpoint-2") for line in lines)
    one, other = (
        load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (output, finished[0])
    )
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (
            "optimizer.pt",
            r"optimizer\.pt: is a pickle, in which earlier versions kept their state; lmcot reads none",
        ),
        ("rng_state.pth", r"rng_state\.pth: is a pickle"),
        ("scheduler.pt", r"scheduler\.pt: is a pickle"),
        ("scaler.pt", r"scaler\.pt: is a pickle"),
        ("pytorch_model.bin", r"pytorch_model\.bin: is a pickle"),
        ("adapter_model.bin", r"adapter_model\.bin: is a pickle"),
        ("link", r"checkpoints: names 'checkpoint-3' as a part of it, which lies outside it"),
        ("best", r"trainer_state\.json: names .* as the best, outside the run"),
        ("megatron", r"adapter_config\.json: megatron_config: adapters with it are not loaded"),
        ("no state", r"optimizer\.safetensors: is missing"),
    ],
)
def test_a_strangers_checkpoint_is_looked_at_before_a_trainer_reads_it(
    tiny_base: Base,
    rationales: Path,
    tmp_path: Path,
    attack: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        distill(rationales, str(tiny_base()), output, OPTIONS, interrupted_at(4))
    checkpoint = output / "checkpoints" / "checkpoint-3"
    assert [path for path in checkpoint.iterdir() if path.suffix in PICKLES] == []
    spoil_checkpoint(checkpoint, attack, tmp_path)
    (checkpoint.resolve() / "training_args.bin").write_bytes(b"left over, read by nothing")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    with pytest.raises(InputError, match=message) as caught:
        distill(rationales, str(tiny_base()), output, OPTIONS, silent)
    assert len(str(caught.value).splitlines()) == 1
    assert "start anew with --overwrite" in str(caught.value)


def spoil_checkpoint(checkpoint: Path, attack: str, elsewhere: Path) -> None:
    match attack:
        case "link":
            checkpoint.rename(elsewhere / "moved")
            checkpoint.symlink_to(elsewhere / "moved")
        case "best":
            state = json.loads((checkpoint / "trainer_state.json").read_text())
            state["best_model_checkpoint"] = str(elsewhere)
            (checkpoint / "trainer_state.json").write_text(json.dumps(state))
        case "megatron":
            config = json.loads((checkpoint / "adapter_config.json").read_text())
            config |= {"megatron_config": {"a": 1}, "megatron_core": "evil"}
            (checkpoint / "adapter_config.json").write_text(json.dumps(config))
        case "no state":
            (checkpoint / "optimizer.safetensors").unlink()
        case name:
            (checkpoint / name).write_bytes(b"a pickle")


def test_a_base_whose_settings_changed_is_another_one(
    tiny_base: Base, rationales: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_base(), tmp_path / "base"))
    run = RunFolder(tmp_path / "run")
    record = distill(rationales, str(base), run.path, OPTIONS, silent)
    (base / "tokenizer_config.json").write_bytes((base / "tokenizer_config.json").read_bytes() + b" ")
    with pytest.raises(ModelError, match="is not the one it was trained on any more"):
        open_run(run.path)
    with pytest.raises(OutputError, match="base_settings_digest"):
        distill(rationales, str(base), run.path, OPTIONS, silent)
    run.write(replace(record, base_settings_digest=None))  # as an earlier version wrote it
    assert open_run(run.path).model is not None
    assert distill(rationales, str(base), run.path, OPTIONS, silent).finished
