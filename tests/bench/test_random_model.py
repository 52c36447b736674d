"""Random models: the published sizes, a tokenizer that works, next tokens about as sure as a trained model's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from math import prod
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import Llama

from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.bench import random_model as kept
from lmcot_cli.bench.random_model import LOGIT_SPREAD, _sizes, random_model, write_random_model
from lmcot_cli.bench.shapes import SHAPES, Shape, ShapeName
from lmcot_cli.errors import MissingExtraError, OutputError
from lmcot_cli.model_files.gguf_header import read_header


@pytest.mark.parametrize(
    ("name", "parameters"), [("135m", 134_515_008), ("360m", 361_821_120), ("500m", 494_032_768)]
)
def test_a_shape_has_as_many_parameters_as_the_published_model(name: ShapeName, parameters: int) -> None:
    assert sum(prod(size) for _, size in _sizes(SHAPES[name])) == parameters


def logits_after(path: Path, text: str) -> np.ndarray:
    model = Llama(str(path), n_ctx=64, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False)
    ids = model.tokenize(text.encode(), add_bos=False)
    model.eval(ids)
    return model.scores[len(ids) - 1].copy()


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_the_logits_spread_as_far_as_said(tiny: Callable[[str], Path], architecture: str) -> None:
    logits = logits_after(tiny(architecture), "the film was directed by someone")
    assert logits.std() == pytest.approx(LOGIT_SPREAD, rel=0.15)
    assert abs(logits.mean()) < 0.5


def test_the_tokenizer_spells_what_it_read_with_a_vocabulary_of_the_shapes_size(
    tiny: Callable[[str], Path],
) -> None:
    text = "Who directed the film Winter Harbor? Émile, 1954."
    with closing(LlamaModel(tiny("llama"))) as model:
        vocabulary = LlamaVocabulary(model)
        ids = vocabulary.encode_text(text)
        assert vocabulary.size == 1200
        assert b"".join(vocabulary.piece(token) or b"" for token in ids).decode() == text
        assert len(ids) < len(text)  # some letters make one token together
        assert [token for token in range(1200) if vocabulary.piece(token) is None] == [1199]


TINIER = Shape("nothing", "llama", 1, 32, 32, 1, 1, 300, 64, 1e4, 1e-5)


def test_equal_seeds_give_equal_files_and_others_do_not(tmp_path: Path) -> None:
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        write_random_model(tmp_path / name, TINIER, seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_a_shape_is_made_once_in_the_type_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "135m", TINIER)
    path = random_model("135m", "q8_0", tmp_path / "cache")
    assert read_header(path).quantization == "Q8_0"
    written = path.stat().st_mtime_ns
    assert random_model("135m", "q8_0", tmp_path / "cache") == path
    assert path.stat().st_mtime_ns == written
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_without_the_gguf_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"lmcot\[export\]"):
        random_model("135m", "q4_0", tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        random_model("135m", "q4_0", tmp_path / "cache")
