"""transformers on a model of nothing, made on the spot."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from lmcot_cli.bench.options import Workload
from lmcot_cli.errors import ModelError
from tools.bench.transformers_model import check_folder, measure_transformers

WORK = Workload(prompts=3, prompt_tokens=4, samples=2, new_tokens=5)
IDS = [[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    place = tmp_path_factory.mktemp("model")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).save_pretrained(place)
    return place


def test_every_sample_is_written_to_its_length(folder: Path) -> None:
    check_folder(folder)
    found = measure_transformers(str(folder), asdict(WORK), IDS, threads=1, concurrency=4)
    assert found["completion_tokens"] == 3 * 2 * 5
    assert found["runs"][0] > 0


def test_another_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="another vocabulary"):
        measure_transformers(str(folder), asdict(WORK), [[[64]]], threads=1, concurrency=4)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        check_folder(tmp_path)
