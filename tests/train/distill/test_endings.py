"""A model that cannot end what it writes is told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.row import Row
from lmcot_train.distill import run as module
from lmcot_train.distill.endings import share_ended, warning
from lmcot_train.distill.options import DistillOptions
from lmcot_train.distill.run import distill
from lmcot_train.lora import LoraOptions
from lmcot_train.models import Opened, Report, open_base
from lmcot_train.run_folder import RunFolder

OPTIONS = DistillOptions(
    epochs=30, batch_size=8, learning_rate=2e-2, threads=1, lora=LoraOptions(rank=16, alpha=32)
)


@pytest.fixture(scope="module")
def rationales(tmp_path_factory: pytest.TempPathFactory, microhop: Callable[..., list[Row]]) -> Path:
    path = tmp_path_factory.mktemp("data") / "rationales.jsonl"
    path.write_text("".join(json.dumps(to_record(row)) + "\n" for row in microhop(10)))
    return path


def test_a_lora_run_whose_end_token_was_never_trained_is_warned_of(
    tiny_base: Callable[..., Path], rationales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(base: str, *, report: Report, **settings: object) -> Opened:
        """Open the base with an end token that no hidden state can make likely."""
        opened = open_base(base, report=report)
        with torch.no_grad():
            opened.model.get_output_embeddings().weight[opened.tokenizer.eos_token_id] = 0
        return opened

    lines: list[str] = []
    distill(rationales, str(tiny_base()), tmp_path / "sound", OPTIONS, lines.append)
    assert not [line for line in lines if line.startswith("warning")]
    assert RunFolder(tmp_path / "sound").read_finished().results["rationales_ended"] == 1.0
    monkeypatch.setattr(module, "open_base", untrained)
    distill(rationales, str(tiny_base()), tmp_path / "mute", OPTIONS, lines.append)
    assert RunFolder(tmp_path / "mute").read_finished().results["rationales_ended"] == 0.0
    (line,) = [line for line in lines if line.startswith("warning")]
    assert "0% of the rationales" in line
    assert "--full" in line


def test_the_share_is_that_of_the_likeliest_tokens_at_the_ends(tiny_base: Callable[..., Path]) -> None:
    from datasets import Dataset

    model, _ = open_base(str(tiny_base()))
    ids = [5, 6, 7, 8]
    with torch.no_grad():
        likeliest = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
    row = {"input_ids": [*ids, likeliest], "labels": [-100, -100, -100, 8, likeliest]}
    other = {"input_ids": [*ids, likeliest + 1], "labels": [-100, -100, -100, 8, likeliest + 1]}
    assert share_ended(model, Dataset.from_list([row, row, row, other])) == 0.75


def test_what_is_advised_is_what_was_not_done() -> None:
    assert warning(0.9, "</s>", full=False) is None
    assert "--full" in str(warning(0.2, "</s>", full=False))
    assert "--epochs" in str(warning(0.2, "</s>", full=True))
