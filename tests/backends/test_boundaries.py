from __future__ import annotations

import pytest

from lmcot_cli.backends.boundaries import begun, reply_ends, turn_end

CHATML = {0: "<|endoftext|>", 1: "<|im_start|>", 2: "<|im_end|>", 3: "<tool_call>"}


@pytest.mark.parametrize(
    ("tokens", "bos", "expected"),
    [([5, 6], 9, [9, 5, 6]), ([9, 5], 9, [9, 5]), ([5, 9], 9, [9, 5, 9]), ([5], None, [5]), ([], 9, [9])],
)
def test_a_text_begins_with_one_bos(tokens: list[int], bos: int | None, expected: list[int]) -> None:
    assert begun(tokens, bos) == expected


def test_a_turn_ends_with_the_first_token_of_its_own_behind_it() -> None:
    assert turn_end([40, 2, 41, 1], CHATML) == 2
    assert turn_end([40, 41], CHATML) is None
    assert turn_end([7, 2], {7: "\n\n", 2: "</s>"}) == 2  # some vocabularies have runs of white space


def test_all_that_is_stated_written_by_the_template_or_well_known_ends_a_reply() -> None:
    assert reply_ends([0, None], None, {}) == {0}
    assert reply_ends([0], 7, {}) == {0, 7}
    assert reply_ends([], None, CHATML) == {0, 2}


@pytest.mark.parametrize("ends", [("<|return|>", "<|call|>"), ("<|calls|>", "<|flush|>")])
def test_the_end_of_a_channel_is_not_that_of_a_reply(ends: tuple[str, str]) -> None:
    texts = ("<|end|>", *ends)
    assert reply_ends([], None, dict(enumerate(texts))) == {1, 2}
    assert reply_ends([], None, {0: "<|end|>"}) == {0}
