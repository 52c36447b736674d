"""Constrained replies of real models, where `LMCOT_REAL_MODELS` names a folder with their GGUF files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.constraint import Choices, JsonSchema, Number, Span
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from tests.backends.runs_of_words import is_run_of_words

ROWS = Path(__file__).parents[4] / "shared" / "data" / "hotpotqa_distractor_dev_100.json"
MODELS = sorted(Path(os.environ.get("LMCOT_REAL_MODELS", "nowhere")).glob("*.gguf"))
TEXT = "Ghana is a country in West Africa. Its capital is Accra; 33.8 million people live there."

pytestmark = [
    pytest.mark.skipif(not MODELS, reason="LMCOT_REAL_MODELS names no folder with GGUF files"),
    pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem),
]


def supporting_paragraphs(record: dict[str, list[list[str]]]) -> tuple[str, ...]:
    titles = {title for title, _ in record["supporting_facts"]}
    return tuple("".join(sentences) for title, sentences in record["context"] if title in titles)


@pytest.mark.skipif(not ROWS.is_file(), reason="the real data files are not here")
def test_spans_are_words_of_the_context(model: Path) -> None:
    records = json.loads(ROWS.read_text("utf-8"))[:20]
    passages = [supporting_paragraphs(record) for record in records]
    requests = [
        Request(
            f"{' '.join(texts)}\n\nQuestion: {record['question']}\nAnswer:",
            seed,
            constraint=Span(texts, also=("yes", "no")),
        )
        for seed, (record, texts) in enumerate(zip(records, passages, strict=True))
    ]
    with LlamaBackend(model, EngineOptions(threads=1, parallel=8)) as backend:
        replies = backend.complete(requests, Sampling(max_tokens=24))
    for reply, texts in zip(replies, passages, strict=True):
        assert isinstance(reply, Completion)
        assert reply.text in ("yes", "no") or any(is_run_of_words(reply.text, text) for text in texts)


def test_choices_numbers_and_json_are_what_was_asked_for(model: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
    }
    constraints = (Choices(("Kumasi", "Accra", "Lagos")), Number(), JsonSchema(json.dumps(schema), schema))
    prompt = f"{TEXT}\n\nQuestion: What is the capital, and how many millions live there?\nAnswer:"
    with LlamaBackend(model, EngineOptions(threads=1, parallel=4)) as backend:
        replies = backend.complete(
            [Request(prompt, 0, constraint=constraint) for constraint in constraints], Sampling(max_tokens=80)
        )
    choice, number, value = [reply.text for reply in replies if isinstance(reply, Completion)]
    assert choice in ("Kumasi", "Accra", "Lagos")
    assert float(number.replace(",", "")) > 0
    assert set(json.loads(value)) == {"city"}
