"""Training from a GGUF file, which transformers unpacks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.torch.backend import TransformersBackend
from lmcot_cli.backends.torch.unpacked import unpacked
from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import ModelError
from lmcot_export.gguf.write import write_gguf
from lmcot_export.source import find_source
from lmcot_train.distill.options import DistillOptions
from lmcot_train.distill.run import distill
from lmcot_train.models import open_base, open_run
from lmcot_train.run_folder import RunFolder


@pytest.fixture
def gguf(tmp_path: Path, tiny_folder: Callable[..., Path]) -> Path:
    write_gguf(tiny_folder("llama", chat=True, max_position_embeddings=2048), tmp_path / "tiny.gguf", "f32")
    return tmp_path / "tiny.gguf"


def test_an_unpacked_file_holds_the_weights_tokens_and_template_it_was_made_from(
    gguf: Path, tiny_folder: Callable[..., Path]
) -> None:
    source, found = (
        open_base(str(tiny_folder("llama", chat=True, max_position_embeddings=2048))),
        open_base(str(gguf)),
    )
    for name, weight in source.model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], weight)
    text = "Where was Ana in the winter? <|im_start|>"
    assert found.tokenizer(text)["input_ids"] == source.tokenizer(text)["input_ids"]
    assert found.tokenizer.chat_template == source.tokenizer.chat_template
    for role in ("bos_token", "eos_token"):  # transformers' reader takes the one for the other
        assert getattr(found.tokenizer, role) == getattr(source.tokenizer, role)
    assert not (unpacked(gguf) / "tokenizer.model").exists()


def test_a_run_based_on_a_file_goes_on_when_the_cache_was_emptied(
    gguf: Path, tmp_path: Path, microhop: Callable[..., list[Row]]
) -> None:
    rationales, run = tmp_path / "rationales.jsonl", tmp_path / "run"
    rationales.write_text("".join(json.dumps(to_record(row)) + "\n" for row in microhop(12)))
    distill(rationales, str(gguf), run, DistillOptions(epochs=1, threads=1), lambda line: None)
    assert RunFolder(run).read_finished().base == str(gguf)
    shutil.rmtree(unpacked(gguf))
    assert open_run(run).model is not None
    assert find_source(run).model == unpacked(gguf)
    with TransformersBackend(run) as model:
        (completion,) = model.complete([Request("Where?", 0)], Sampling(max_tokens=3))
    assert not isinstance(completion, Exception)


def test_what_is_no_gguf_file_or_none_that_transformers_reads_is_one_line(tmp_path: Path, gguf: Path) -> None:
    with pytest.raises(ModelError, match=r"missing\.gguf: no such model file"):
        open_base(str(tmp_path / "missing.gguf"))
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(gguf.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"torn\.gguf: cannot be loaded"):
        open_base(str(torn))
