"""Constrained replies of random transformers models."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.constraint import Choices, Number, Span
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.torch.backend import TransformersBackend
from tests.backends.runs_of_words import is_run_of_words

CONTEXT = "In the winter Ana went to a café in Oslo (for 1,000 days), then to 東京."
CONSTRAINTS = (None, Span((CONTEXT,), also=("yes",)), Choices(("winter", "the an", "東京")), Number())
HOT = Sampling(temperature=2.0, max_tokens=40, stop=("\n",))


@pytest.mark.parametrize(
    ("family", "tokenizer"), [("llama", "byte"), ("llama", "sentencepiece"), ("t5", "sentencepiece")]
)
def test_every_reply_fits_its_constraint(
    tiny_folder: Callable[..., Path], family: str, tokenizer: str
) -> None:
    asked = [
        Request("the cat", seed, constraint=constraint) for seed in range(12) for constraint in CONSTRAINTS
    ]
    with TransformersBackend(tiny_folder(family, tokenizer=tokenizer), EngineOptions(threads=1)) as backend:
        replies = backend.complete(asked, HOT)
    ended = 0
    for request, reply in zip(asked, replies, strict=True):
        assert isinstance(reply, Completion)
        if request.constraint is not None and (reply.finish_reason == "stop" or reply.text):
            ended += 1
            assert fits(reply.text, request.constraint)
    assert ended > 24


def fits(text: str, constraint: object) -> bool:
    match constraint:
        case Choices(texts):
            return text in texts
        case Span(_, also):
            return text in also or is_run_of_words(text, CONTEXT)
    return re.fullmatch(r"[-+]?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?", text) is not None


def test_free_replies_beside_constrained_ones_are_what_they_are_alone(
    tiny_folder: Callable[..., Path],
) -> None:
    free = [Request("the cat", seed) for seed in range(4)]
    bound = [Request("the cat", seed, constraint=Choices(("the an",))) for seed in range(4)]
    with TransformersBackend(tiny_folder(), EngineOptions(threads=1)) as backend:
        alone, mixed = backend.complete(free, HOT), backend.complete([*bound, *free], HOT)
        assert backend.constraints == {Choices, Span, Number}
    texts = [reply.text for reply in [*alone, *mixed] if isinstance(reply, Completion)]
    assert texts[8:] == texts[:4]
    assert texts[4:8] == ["the an"] * 4
