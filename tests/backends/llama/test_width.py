from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama import width
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.backends.llama.width import USUAL, WIDTHS, measure_width, remembered_width

ONE_THREAD = EngineOptions(threads=1)


@pytest.fixture
def model(tiny_gguf: Callable[..., Path]) -> Iterator[LlamaModel]:
    with closing(LlamaModel(tiny_gguf(seed=77))) as model:
        yield model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_measured_width_is_one_that_was_tried(model: LlamaModel) -> None:
    assert measure_width(model, LlamaVocabulary(model).size, ONE_THREAD) in WIDTHS


def test_the_widest_of_the_quickest_is_chosen(model: LlamaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # Times of a step by width: the rate grows up to 24, gains too little at 32, and falls at 48.
    times = {8: 0.010, 16: 0.018, 24: 0.024, 32: 0.0319, 48: 0.060}
    monkeypatch.setattr(width, "_step", lambda context, sequences, position: times[len(sequences)])
    assert measure_width(model, LlamaVocabulary(model).size, ONE_THREAD) == 24


def test_no_width_is_tried_for_which_there_are_no_states(
    tiny_family: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(LlamaModel(tiny_family("mamba"))) as model:
        state = 4 * model.memory_shape.state_values
        assert measure_width(model, LlamaVocabulary(model).size, ONE_THREAD) in WIDTHS
        monkeypatch.setattr("lmcot_cli.backends.llama.room.MIB", 5 * state)
        narrow = replace(ONE_THREAD, kv_mib=1)
        assert measure_width(model, LlamaVocabulary(model).size, narrow) == USUAL


def test_a_slow_model_is_not_measured(model: LlamaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(width, "SLOW_STEP", 0.0)
    monkeypatch.setattr(width, "_begin", lambda *_: pytest.fail("it was measured"))
    assert measure_width(model, LlamaVocabulary(model).size, ONE_THREAD) == USUAL


def test_no_time_is_spent_beyond_the_limit(model: LlamaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(width, "SECONDS", 0.0)
    assert measure_width(model, LlamaVocabulary(model).size, ONE_THREAD) == USUAL


def test_the_width_is_measured_once_for_a_file_and_its_settings(
    tiny_gguf: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_gguf()
    measured: list[EngineOptions] = []

    def measure(model: LlamaModel, size: int, options: EngineOptions) -> int:
        measured.append(options)
        return 24

    monkeypatch.setattr(width, "measure_width", measure)
    assert remembered_width(path, ONE_THREAD) is None
    for options in (ONE_THREAD, ONE_THREAD, replace(ONE_THREAD, flash_attention=False)):
        with LlamaBackend(path, options) as backend:
            assert backend.window == 24
    assert [options.flash_attention for options in measured] == [True, False]
    assert remembered_width(path, ONE_THREAD) == 24


@pytest.mark.parametrize("content", ["", "many", "0", "5000", "\x00"])
def test_a_cache_that_others_wrote_is_no_answer(
    tiny_gguf: Callable[..., Path], cache: Path, content: str
) -> None:
    file = width._memory_of(tiny_gguf(), ONE_THREAD)
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert remembered_width(tiny_gguf(), ONE_THREAD) is None


def test_a_cache_that_cannot_be_written_does_no_harm(tiny_gguf: Callable[..., Path], cache: Path) -> None:
    cache.write_text("a file where the folder is to be")
    with LlamaBackend(tiny_gguf(), ONE_THREAD) as backend:
        assert backend.window in (*WIDTHS, USUAL)


def test_a_given_width_is_taken_unmeasured(
    tiny_gguf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(width, "measure_width", lambda *_: pytest.fail("it was measured"))
    with LlamaBackend(tiny_gguf(), replace(ONE_THREAD, parallel=5)) as backend:
        assert backend.window == 5
