from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lmcot_cli.backends.base import Completion, Request, Sampling, Shot
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.reply import PartialCompletion, WritingJob

PIECES = [b"\n", b" ", b" \n", b"Lyon", b" is\n", b"\nAnswer", b"", b".\n"]
END = len(PIECES)


class Vocabulary:
    def piece(self, token: int) -> bytes | None:
        return PIECES[token] if token < END else None

    def mark(self, token: int) -> str:
        return ""


def allowed(reply: PartialCompletion) -> list[int]:
    assert reply.draws.mask
    return [token for token in range(END + 1) if reply.draws.mask.allows(token)]


def test_a_reply_begins_on_the_line_of_its_cue_and_then_goes_where_it_likes() -> None:
    vocabulary = Vocabulary()
    cue = Lexicon(vocabulary, END + 1)
    job = WritingJob(0, np.zeros(1, np.int32), 0, Sampling(max_tokens=9), 9, cue=cue)
    reply = PartialCompletion(job, vocabulary)
    assert reply.mask is None  # it is no constraint: stop strings and all else are as ever
    assert [PIECES[token] for token in allowed(reply)] == [b" ", b"Lyon", b" is\n", b".\n"]
    reply.add(PIECES.index(b" "), -1.0)
    assert END not in allowed(reply)
    assert reply.draws.mask
    assert [PIECES[token] for token in reply.draws.mask.allowed()] == [b"Lyon", b" is\n", b".\n"]
    reply.add(PIECES.index(b"Lyon"), -1.0)
    assert allowed(reply) == list(range(END + 1))


def test_with_examples_as_text_no_reply_is_blank(tiny_gguf: Callable[..., Path]) -> None:
    """A random model at temperature 5 begins with a line end, or ends at once, now and then."""
    shots = (Shot("Where?\nAnswer:", "Lyon"),)
    sampling = Sampling(temperature=5.0, max_tokens=3)
    requests = [Request("Who?\nAnswer:", seed) for seed in range(300)]
    with LlamaBackend(tiny_gguf()) as backend:
        free = backend.complete(requests, sampling)
        kept = backend.complete([Request(one.prompt, one.seed, shots=shots) for one in requests], sampling)

    def begins(replies: list[object]) -> int:
        texts = [one.text for one in replies if isinstance(one, Completion)]
        assert len(texts) == 300
        leads = [text[: len(text) - len(text.lstrip())] for text in texts]
        return sum(text != "" and "\n" not in lead for text, lead in zip(texts, leads, strict=True))

    assert begins(list(free)) < 300
    assert begins(list(kept)) == 300
