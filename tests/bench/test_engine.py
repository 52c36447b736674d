"""The engine writes every token of the workload, and no text ends early."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.bench.engine import engine_options, measure_engine, texts_never_end, write
from lmcot_cli.bench.options import Workload
from lmcot_cli.bench.prompts import prepare
from lmcot_cli.bench.report import WidthRates
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.models import embedded
from lmcot_cli.prompts.render import Prompts

QUESTIONS = Path(__file__).parents[2] / "examples" / "questions.jsonl"
WORK = Workload(prompts=2, prompt_tokens=40, samples=3, new_tokens=6)


def texts(path: Path, repeats: int = 2) -> list[list[str]]:
    return [[prompt.text for prompt in repeat] for repeat in prepare(path, WORK, repeats)[1]]


def test_every_repeat_is_measured(tiny: Path) -> None:
    found = WidthRates(**measure_engine(str(tiny), asdict(WORK), texts(tiny), 4, 1, 0))
    assert found.width == 4
    assert len(found.runs) == 2
    assert min(*found.runs, found.reading, found.stated_memory) > 0


def test_the_engine_writes_every_token_and_reads_every_prompt_once(tiny: Path) -> None:
    with texts_never_end(), LlamaBackend(tiny, engine_options(WORK, 4, 1, 0)) as backend:
        assert write(backend, WORK, texts(tiny, 1)[0]) == 2 * 3 * 6
        assert backend.work.prompt_tokens == 2 * 40


def test_an_end_of_text_ends_nothing_meanwhile() -> None:
    """The embedded pair ends its texts early; here neither way of writing does."""
    path = embedded.path_of("builtin:small")
    row = next(row for row in read_rows(QUESTIONS) if isinstance(row, Row))
    prompt = Prompts().render("guided_rationale", row)
    with LlamaBackend(path, EngineOptions(threads=1)) as backend:
        (usual,) = backend.complete([Request(prompt, 0)], Sampling(max_tokens=200))
        with texts_never_end(), LlamaBackend(path, EngineOptions(threads=1)) as endless:
            (full,) = endless.complete([Request(prompt, 0)], Sampling(max_tokens=200))
    assert usual.finish_reason == "stop"  # type: ignore[union-attr]
    assert full.completion_tokens == 200  # type: ignore[union-attr]
