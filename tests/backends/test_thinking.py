from __future__ import annotations

import pytest

from lmcot_cli.backends.thinking import Part, Split, Splitter, opened_by, split

HARMONY = (
    "<|channel|>analysis<|message|>A port.<|end|><|start|>assistant<|channel|>commentary<|message|>Hm.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Gdynia"
)
TEXTS = [
    ("<think>\nA port.\n</think>\n\nGdynia", Split("Gdynia", "A port.")),
    (" \n<think></think>Gdynia", Split("Gdynia", "")),
    ("A port.</think>\nGdynia", Split("Gdynia", "A port.")),
    ("[THINK]A port.[/THINK]Gdynia", Split("Gdynia", "A port.")),
    ("<seed:think>A port.</seed:think>Gdynia", Split("Gdynia", "A port.")),
    ("<|channel>thought\nA port.\n<channel|>Gdynia", Split("Gdynia", "A port.")),
    ("<|START_THINKING|>A.<|END_THINKING|><|START_TEXT|>B<|END_TEXT|>", Split("B", "A.")),
    ("<think>A.</think><response>\nB\n</response>", Split("B", "A.")),
    ("<think>A.</think>\n<answer>\nB\n</answer>\n", Split("B", "A.")),
    ("<thinking>A.</thinking>B", Split("B", "A.")),
    (HARMONY, Split("Gdynia", "A port.\n\n\nHm.")),
    ("<|channel|>final<|message|>Gdynia<|end|>", Split("Gdynia", "")),
    ("<|channel|>analysis<|message|>A.<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>1",
     Split("1", "A.")),
    ("<THINK>A.</THINK>\nB", Split("B", "A.")),
    ("A.\n</Think>\nB", Split("B", "A.")),
    ("<think>A.</think>\n<think>C.</think>\n\nB", Split("B", "A.\nC.")),
    ("<think>A <think>C</think> D.</think>\n\nB", Split("B", "A <think>C</think> D.")),
    ("<think>The tag <think> is odd.</think>B", Split("B", "The tag <think> is odd.")),
    ("<|begin_of_thought|>A.<|end_of_thought|>\n<|begin_of_solution|>\nB\n<|end_of_solution|>", Split("B", "A.")),
    ("Here is my thought process:\nA.\n\nHere is my response:\n\nB", Split("B", "A.")),
]  # fmt: skip
REPLIES = [
    "Gdynia",
    "",
    "\n\nGdynia",
    "<",
    "<b>Gdynia</b>",
    "a < b, [1] and <thin",
    "The tag <think> opens a thought.",
    "Here is my thought process: the port is Gdynia.",
    "One closes it with </thinking> or </reasoning>.",
]


def in_steps(text: str, length: int) -> Split:
    splitter = Splitter()
    for start in range(0, len(text), length):
        splitter.add(text[start : start + length])
    return Split(splitter.reply, splitter.thought, splitter.part is not Part.THOUGHT)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_a_leading_thought_is_parted_from_the_reply_however_the_text_comes(
    text: str, expected: Split, length: int
) -> None:
    assert in_steps(text, length) == split(text) == expected


@pytest.mark.parametrize("length", [1, 1000])
@pytest.mark.parametrize("text", REPLIES)
def test_a_text_without_thought_stays_as_it_is(text: str, length: int) -> None:
    assert in_steps(text, length) == split(text) == Split(text)


@pytest.mark.parametrize(
    ("text", "thought"),
    [("<think>A port", "A port"), ("[THINK]", ""), ("<|channel|>analysis<|message|>A port", "A port")],
)
def test_a_thought_without_end_has_no_reply(text: str, thought: str) -> None:
    assert split(text) == Split("", thought, finished=False)


def test_only_the_first_thought_is_one() -> None:
    assert split("<think>A.</think>B <think>C</think>") == Split("B <think>C</think>", "A.")


def test_a_second_thought_without_end_leaves_no_reply() -> None:
    assert split("<think>A.</think>\n<think>C").reply == ""
    assert not split("<think>A.</think>\n<think>C").finished


def test_control_tokens_open_and_close_a_second_thought() -> None:
    splitter = Splitter()
    for mark, text in [("<think>", "A."), ("</think>", "\n"), ("<think>", "C."), ("</think>", "B")]:
        splitter.add_mark(mark)
        splitter.add(text)
    assert (splitter.reply, splitter.thought) == ("B", "A.\nC.")


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("<|im_start|>assistant\n<think>\n", "<think>"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", None),
        ("[/INST]", None),
        ("assistant\nHere are my reasoning steps:\n", "Here are my reasoning steps:"),
    ],
)
def test_a_prompt_that_ends_in_an_opening_mark_has_opened_the_thought(
    prompt: str, opening: str | None
) -> None:
    marks = opened_by(prompt)
    assert (marks.opening if marks else None) == opening


def test_a_thought_that_the_prompt_opened_has_no_opening_mark() -> None:
    splitter = Splitter(opened_by("<think>\n"))
    splitter.add("A port.")
    assert (splitter.reply, splitter.thought) == ("", "A port.")
    splitter.add("</think>Gdynia")
    assert (splitter.reply, splitter.thought) == ("Gdynia", "A port.")


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize(
    "text",
    [
        *(text for text, _ in TEXTS),
        "A.\n<think>x</think>x</think></think>\nB",
        "<think>a<think>b<think>c</think>d</think>e</think>B",
        "<think>a</think> <think>b</think> <think>c</think> B",
        f"A.<|channel|>final {'x' * 80}<|message|>B",
        "Here is my thought process: A. </think> Here is my response: B",
        "[THINK]a[THINK]b[/THINK]c[/THINK]B",
    ],
)
def test_a_text_is_parted_alike_in_one_piece_and_in_many(text: str, size: int) -> None:
    splitter, whole = Splitter(), split(text)
    for begin in range(0, len(text), size):
        splitter.add(text[begin : begin + size])
    assert (splitter.reply, splitter.thought) == (whole.reply, whole.thought)


def test_thoughts_within_thoughts_end_with_the_last_of_their_marks() -> None:
    assert split("<think>a<think>b<think>c</think>d</think>e</think>B").reply == "B"
    assert split("[THINK]a[THINK]b[/THINK]c[/THINK]B").reply == "B"
    assert split("<think>a</think> <think>b</think> <think>c</think> B").reply == "B"


def test_very_many_marks_are_read_at_once() -> None:
    for text in ("<think>" * 60_000 + "</think>" * 60_000 + "B", "<think></think>" * 60_000 + "B"):
        assert split(text).reply == "B"
