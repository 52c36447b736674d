from __future__ import annotations

import numpy as np
import pytest

from lmcot_cli.backends.base import Sampling, Thought
from lmcot_cli.backends.constraint import Choices
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.masks.portable import portable_mask
from lmcot_cli.backends.reply import PartialCompletion, WritingJob
from lmcot_cli.backends.thinking import opened_by

PIECES = [b"<think", b">", b"hm", b"</think>", b"yes", b"no", b"\n", b""]


class Vocabulary:
    def piece(self, token: int) -> bytes | None:
        return PIECES[token] if token < len(PIECES) else None

    def mark(self, token: int) -> str:
        return "[THINK]" if token == 7 else ""


def reply(*, room: int = 20, prompt: str = "") -> PartialCompletion:
    vocabulary = Vocabulary()
    mask = portable_mask(Choices(("yes", "no")), Lexicon(vocabulary, len(PIECES) + 1), ())
    job = WritingJob(0, np.zeros(1, np.int32), 0, Sampling(max_tokens=5), room, opened_by(prompt), mask)
    return PartialCompletion(job, vocabulary)


def write(at_work: PartialCompletion, *pieces: bytes) -> str | None:
    end = None
    for piece in pieces:
        token = PIECES.index(piece)
        assert at_work.mask and at_work.mask.allows(token), piece
        end = at_work.add(token, -1.0)
    return end


def test_the_thought_is_free_and_the_reply_is_not() -> None:
    thinking = reply()
    assert write(thinking, b"<think", b">", b"hm", b"\n", b"</think>", b"\n") is None
    assert thinking.mask and not thinking.mask.allows(PIECES.index(b"hm"))
    write(thinking, b"yes")
    completion = thinking.completion("stop")
    assert (completion.text, completion.thought) == ("yes", Thought(5, "hm"))


def test_a_model_that_may_think_need_not() -> None:
    plain = reply()
    assert plain.mask and not plain.mask.allows(PIECES.index(b"hm"))
    write(plain, b"no")
    completion = plain.completion("stop")
    assert (completion.text, completion.thought) == ("no", None)


def test_a_thought_that_the_prompt_opened_is_free_from_the_start() -> None:
    thinking = reply(prompt="<think>")
    write(thinking, b"hm", b"</think>", b"no")
    assert thinking.completion("stop").text == "no"


def test_a_control_token_opens_a_thought() -> None:
    thinking = reply()
    assert thinking.mask and thinking.mask.allows(7)


@pytest.mark.parametrize("piece", [b"<think", b"hm"])
def test_a_model_that_is_not_to_think_cannot(piece: bytes) -> None:
    plain = reply(room=5)
    assert plain.mask and not plain.mask.allows(PIECES.index(piece))


def test_what_begins_like_a_mark_and_is_none_is_left_out() -> None:
    odd = reply()
    write(odd, b"<think")
    assert odd.mask and PIECES.index(b"yes") in odd.mask.allowed()
    write(odd, b"yes")
    completion = odd.completion("stop")
    assert (completion.text, completion.thought) == ("yes", None)
