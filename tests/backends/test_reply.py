from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.backends.base import Completion, FinishReason, Sampling, Thought
from lmcot_cli.backends.context_limit import ContextLimit
from lmcot_cli.backends.reply import PartialCompletion, WritingJob
from lmcot_cli.backends.reply_text import ReplyText
from lmcot_cli.backends.thinking import opened_by

# Few letters, so that stop strings occur; of one to four bytes, so that cuts fall inside characters.
TEXTS = st.text(alphabet="abé猫🙂\n", max_size=30)
STOPS = st.lists(st.text(alphabet="abé猫🙂\n", min_size=1, max_size=4), max_size=3)
CUTS = st.lists(st.integers(0, 120), max_size=20)


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def feed(pieces: list[bytes], stop: list[str]) -> tuple[str, int | None]:
    """Feed pieces until the text is complete; return it, and how many that took (None: it met no stop)."""
    text = ReplyText(stop)
    for count, piece in enumerate(pieces, 1):
        if text.add(piece):
            return text.text, count
    return text.text, None


@given(text=TEXTS, cuts=CUTS)
def test_pieces_join_to_the_text_however_it_is_cut(text: str, cuts: list[int]) -> None:
    assert feed(cut_up(text.encode(), cuts), []) == (text, None)


@given(text=TEXTS, cuts=CUTS, stop=STOPS)
def test_the_text_ends_before_the_first_stop_string(text: str, cuts: list[int], stop: list[str]) -> None:
    pieces = cut_up(text.encode(), cuts)
    expected: tuple[str, int | None] = (text, None)
    for count in range(1, len(pieces) + 1):
        so_far = b"".join(pieces[:count]).decode(errors="ignore")
        written = so_far.lstrip()
        begin = len(so_far) - len(written) + 1  # what is blank so far is not stopped
        found = [at for string in stop if (at := so_far.find(string, begin)) >= 0]
        if found:
            expected = (so_far[: min(found)], count)
            break
    assert feed(pieces, stop) == expected


@given(data=st.binary(max_size=40), cuts=CUTS)
def test_any_bytes_make_the_same_text_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    assert feed(cut_up(data, cuts), [])[0] == feed([data], [])[0]


def test_an_unfinished_character_is_left_out() -> None:
    assert feed([b"caf", b"\xc3"], []) == ("caf", None)


def test_bytes_that_are_no_character_are_replaced() -> None:
    assert feed([b"a\xff", b"b"], []) == ("a\N{REPLACEMENT CHARACTER}b", None)


def test_an_empty_stop_string_stops_nothing() -> None:
    assert feed([b"abc"], [""]) == ("abc", None)


def test_whoever_reads_the_text_may_end_it_where_a_line_ends() -> None:
    asked: list[str] = []

    def enough(text: str) -> bool:
        asked.append(text)
        return "Gdynia" in text

    text = ReplyText(enough=enough)

    assert [text.add(piece) for piece in (b"Port:", b"\n", b"Gdy", b"nia", b".\n\n")] == [False] * 4 + [True]
    assert asked == ["Port:\n", "Port:\nGdynia.\n\n"]


def test_stop_strings_count_only_after_text_that_is_not_blank() -> None:
    assert feed([b"\n", b" \n", b"Paris", b".", b"\n", b"x"], ["\n"]) == ("\n \nParis.", 5)
    assert feed([b"\nAnswer: yes", b"\nAnswer: no"], ["\nAnswer:"]) == ("\nAnswer: yes", 2)


def test_stop_strings_do_not_count_within_a_thought() -> None:
    pieces = [b"<th", b"ink>", b"\nLet me see.\n\n", b"</thi", b"nk>\n", b"\nParis", b"\nx"]
    assert feed(pieces, ["\n"]) == ("Paris", 7)


class Written:
    """A vocabulary whose tokens are numbered as they are written."""

    def __init__(self, pieces: list[bytes], marks: dict[int, str] | None = None) -> None:
        self.pieces, self.marks = pieces, marks or {}

    def piece(self, token: int) -> bytes | None:
        return self.pieces[token] if token < len(self.pieces) else None

    def mark(self, token: int) -> str:
        return self.marks.get(token, "")


def write(tokens: list[bytes], sampling: Sampling, room: int = 100, prompt: str = "") -> Completion:
    """Write tokens of log-probability -1, -2, ... until the reply is complete or the model ends it."""
    job = WritingJob(0, np.zeros(7, np.int32), 0, sampling, room, opened_by(prompt))
    reply = PartialCompletion(job, Written(tokens))
    end: FinishReason | None = None
    token = 0
    while end is None:
        end = reply.add(token, -float(token + 1))
        token += 1
    return reply.completion(end)


THINKING = [b"<", b"think", b">", b"so", b" so", b"</think>", b"\n\n", b"Paris", b" it is"]
LIMITS = Sampling(max_tokens=3, max_thinking_tokens=6, stop=("\n",))


def test_thought_and_reply_are_counted_apart() -> None:
    written = write(THINKING, LIMITS)
    assert written == Completion("Paris it is", 7, 9, "length", -8.0, thought=Thought(6, "so so"))


def test_a_thought_that_its_limit_cuts_leaves_no_reply() -> None:
    written = write(THINKING, Sampling(max_tokens=3, max_thinking_tokens=5))
    assert written == Completion("", 7, 5, "length", None, thought=Thought(5, "so so", finished=False))


def test_a_model_that_ends_in_its_thought_leaves_no_reply() -> None:
    written = write(THINKING[:5], LIMITS)
    assert (written.text, written.finish_reason) == ("", "stop")
    assert written.thought == Thought(5, "so so", finished=False)


def test_an_opening_mark_may_take_more_tokens_than_the_reply_may() -> None:
    written = write(THINKING, Sampling(max_tokens=1, max_thinking_tokens=6))
    assert (written.thought, written.completion_tokens) == (Thought(6, "so so"), 7)


def test_without_room_for_a_thought_it_takes_that_of_the_reply() -> None:
    written = write(THINKING, LIMITS, room=3)
    assert (written.text, written.completion_tokens, written.finish_reason) == ("", 3, "length")


def test_blank_tokens_come_to_an_end() -> None:
    assert write([b"\n"] * 9, LIMITS).completion_tokens == 3


def test_a_thought_that_the_prompt_opened_begins_at_once() -> None:
    written = write([b"so", b"\n", b"</think>", b"Paris"], LIMITS, prompt="<|im_start|>assistant\n<think>\n")
    assert (written.text, written.thought, written.logprob) == ("Paris", Thought(3, "so"), -4.0)


def test_all_before_a_closing_mark_alone_was_thought() -> None:
    written = write([b"so", b"</think>", b"Paris"], LIMITS)
    assert (written.text, written.thought, written.logprob) == ("Paris", Thought(2, "so"), -3.0)


def test_marks_that_are_control_tokens_are_read_and_never_shown() -> None:
    pieces = [b"", b"so", b"", b"Paris", b""]
    job = WritingJob(0, np.zeros(1, np.int32), 0, LIMITS, 100)
    reply = PartialCompletion(job, Written(pieces, {0: "[THINK]", 2: "[/THINK]", 4: "[THINK]"}))
    for token in range(5):
        reply.add(token, -1.0)
    assert reply.completion("stop").text == "Paris"
    assert reply.completion("stop").thought == Thought(3, "so")


def test_a_prompt_without_room_for_the_thought_says_which_option_to_lower() -> None:
    error = str(ContextLimit(2048).error(900, 1280, Sampling()))
    assert "1280 to write (--max-tokens and --max-thinking-tokens)" in error
    assert error.endswith("lower --max-thinking-tokens to 892")
    assert str(ContextLimit(1000).error(900, 256, Sampling())).endswith("or lower --max-tokens to 100")
    assert str(ContextLimit(2048).error(1900, 1280, Sampling())).endswith("shorten the row's context")
