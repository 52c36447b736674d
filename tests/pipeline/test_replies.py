"""What replies look like in the wild, and the answer that a person would read in each."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.datasets.row import Row
from lmcot_cli.pipeline.answer_kinds import parse_kind
from lmcot_cli.pipeline.answer_values import answer_key
from lmcot_cli.pipeline.extract import answer_line, before_answer, chain_answer, has_answer
from lmcot_cli.pipeline.reading import AnswerReader

ROW = Row("q", "Where?", (), (), None, None, 1)

DRESSED = [
    ("Answer: Gdynia", "Gdynia"),
    ("**Answer:** Gdynia", "Gdynia"),
    ("**Answer**: Gdynia.", "Gdynia"),
    ("Answer:\nGdynia", "Gdynia"),
    ("Final Answer: Gdynia", "Gdynia"),
    ("**Final answer:** Gdynia", "Gdynia"),
    ("### Answer\nGdynia", "Gdynia"),
    ("## Final Answer:\n\n**Gdynia**", "Gdynia"),
    ("**Answer**\n\nGdynia", "Gdynia"),
    ("A: Gdynia", "Gdynia"),
    ("Answer: yes.", "yes"),
    ("#### 42", "42"),
    ("\\boxed{42}", "42"),
    ("$\\boxed{42}$", "42"),
    ("The final answer is $\\boxed{42}$.", "42"),
    ("\\[\n\\boxed{\\text{Gdynia}}\n\\]", "Gdynia"),
    ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
    ("The answer is Gdynia.", "Gdynia"),
    ("So the answer is: **Gdynia**.", "Gdynia"),
    ("The port is:\nGdynia", "Gdynia"),
    ("The port is:\n\n**Gdynia**", "Gdynia"),
    ("The port is: Gdynia", "Gdynia"),
    ("Sure! Here is the answer:\n\nGdynia", "Gdynia"),
    ("Sure!\nGdynia", "Gdynia"),
    ("```\nGdynia\n```", "Gdynia"),
    ("```text\nGdynia\n```", "Gdynia"),
    ('```json\n{"answer": "Gdynia"}\n```', "Gdynia"),
    ('{"answer": "Gdynia"}', "Gdynia"),
    ('{"answer": 1.50}', "1.50"),
    ('{"answer": true}', "true"),
    ('{"answer": ["Gdynia", "Sopot"]}', "Gdynia, Sopot"),
    ('{"port": "Gdynia"}', "Gdynia"),
    ('{"answer": {"text": "Gdynia"}}', "Gdynia"),
    ('{\n  "explanation": "x",\n  "answer": "Gdynia"\n}', "Gdynia"),
    ("{'answer': 'Gdynia'}", "Gdynia"),
    ('{"answer": "Gdynia", "explanation": "The ship', "Gdynia"),
    ('Here is the JSON:\n```json\n{"answer": "Gdynia"}\n```', "Gdynia"),
    ("上海。", "上海"),
    ("「上海」。", "上海"),
    ("答案是\uff1a北京。", "北京"),
    ("答案\uff1a北京", "北京"),
    ("北京。因为它是首都。", "北京"),
    ("答えは「グディニア」です。", "グディニア"),
    ("\n\n Gdynia", "Gdynia"),
    ("- Gdynia", "Gdynia"),
    ("* **Gdynia**", "Gdynia"),
    ("1. Gdynia\n2. Sopot", "Gdynia"),
    ("The ports are:\n1. Gdynia", "Gdynia"),
    ("1938.", "1938"),
    ("> Gdynia", "Gdynia"),
    ("# Gdynia", "Gdynia"),
    ("Gdynia. The Orzel was launched in Gdynia in 1938.", "Gdynia"),
    ("Gdynia (the Orzel was launched there in 1938)", "Gdynia"),
    ("Yes, both are magazines.", "Yes"),
    ("Yes. Both are magazines.", "Yes"),
    ("I think the answer is Gdynia because the Orzel was launched there.", "Gdynia"),
    ("The answer is not given in the context.", None),
    ("The Orzel was launched in **Gdynia**.", "Gdynia"),
    ("**Gdynia**, Poland", "Gdynia, Poland"),
    (
        "The Orzel was a submarine of the Polish Navy and it was launched in the port.\n\nAnswer: Gdynia",
        "Gdynia",
    ),
    ("Answer: The answer is Gdynia.", "Gdynia"),
    ("Answer: Answer: Gdynia", "Gdynia"),
    ("Antwort: Gdynia", "Gdynia"),
    ("Gdynia\n\nExplanation: because", "Gdynia"),
    ("Gdynia\nAnswer: Sopot", "Gdynia"),
    ("The answer to the question is Gdynia.", "Gdynia"),
    ("The answer is as follows:\nGdynia", "Gdynia"),
    ("Gdynia, because the Orzel was launched there.", "Gdynia"),
    ("The answer is Washington, D.C. The city is the capital.", "Washington, D.C."),
    ("The answer is 9 a.m.", "9 a.m."),
    ("The answer is yes, they are both magazines.", "yes"),
    ('"Gdynia"', "Gdynia"),
    ("„Gdynia“", "Gdynia"),
    ("«Gdynia»", "Gdynia"),
    ("The correct answer is (B) Gdynia.", "(B) Gdynia"),
    ("Based on the context, the answer is Gdynia.", "Gdynia"),
    ("Answer - Gdynia", "Gdynia"),
    ("A.", "A"),
    ("\\$5", "$5"),
    ("50\\%", "50%"),
    ("Gdynia\n```", "Gdynia"),
    ("Hello.", "Hello"),
    ("---\nGdynia\n---", "Gdynia"),
    ("The port was:  Gdynia.", "Gdynia"),
    ("Q: Which port?\nA: Gdynia", "Gdynia"),
    ("Question: Which port?\nAnswer: Gdynia", "Gdynia"),
    ("Rationale: The Orzel was launched in Gdynia.\nAnswer: Gdynia", "Gdynia"),
    ("<answer>Gdynia</answer>", "Gdynia"),
    ("The answer is <answer>Gdynia</answer>", "Gdynia"),
    ("**Gdynia** \u2013 the Orzel was launched there in 1938.", "Gdynia"),
    ("_Gdynia_", "Gdynia"),
    ("***Gdynia***", "Gdynia"),
    ("Answer: **Gdynia** (1938)", "Gdynia"),
]
NAMES = [
    "OK",
    "1. FC Köln",
    "U.S.",
    "Washington, D.C.",
    "Bath, Maine",
    "Mr. Smith Goes to Washington",
    "Mamma Mia! Here We Go Again",
    "Dr. No",
    "Warner Bros. Records is a label",
    "Samuel L. Jackson",
    "J. R. R. Tolkien",
    "Don't You (Forget About Me)",
    "Gesellschaft mit beschränkter Haftung (GmbH)",
    "William King (governor)",
    "M*A*S*H",
    "Star Wars: A New Hope",
    "Yes, Minister",
    "No, No, Nanette",
    "Vitamin A",
    "A",
    "3.14",
    "-4",
    "$5",
    "$5 million",
    "50%",
    "Result: Gdynia",
    "C++",
    "C#",
    "Guardians of the Galaxy Vol. 2",
    "St. Louis Cardinals",
    "The Answer",
    "Answer",
    "...",
    "Orzel: Gdynia",
]
"""Answers that look as if there were something to take off, and there is not."""

CHAINS = [
    (
        "The Orzel was launched in Gdynia.\n\n**Answer:** Gdynia",
        "The Orzel was launched in Gdynia.",
        "Gdynia",
    ),
    (
        "The Orzel was launched in Gdynia.\nSo the answer is \\boxed{Gdynia}.",
        "The Orzel was launched in Gdynia.",
        "Gdynia",
    ),
    ("R is so. So the answer is Gdynia.\n\n$\\boxed{Gdynia}$", "R is so.", "Gdynia"),
    ("R is so.\n\n### Final Answer\n\n$$\\boxed{\\text{Gdynia}}$$", "R is so.", "Gdynia"),
    ("R is so.\n#### 42", "R is so.", "42"),
    ("#### Step 1\nR is so.\n#### Step 2\nThe answer is 5.", "#### Step 1\nR is so.\n#### Step 2", "5"),
    (
        "Die Orzel lief in Gdynia vom Stapel. Also lautet die Antwort: Gdynia.",
        "Die Orzel lief in Gdynia vom Stapel.",
        "Gdynia",
    ),
    ("R is so. The answer is Gdynia. The answer is not Sopot.", "R is so.", "Gdynia"),
    ("R is so. The answer is not given.", "R is so. The answer is not given.", None),
    ("R is so. The answer is Gdynia. So the answer is", "R is so.", "Gdynia"),
    ('{"reasoning": "R is so.", "answer": "Gdynia"}', "R is so.", "Gdynia"),
    ('R is so.\n```json\n{"answer": "Gdynia"}\n```', "R is so.", "Gdynia"),
    ("R is so. Final Answer: The final answer is Gdynia. I hope it is correct.", "R is so.", "Gdynia"),
    ("Reasoning: R is so. So the answer is Gdynia.", "R is so.", "Gdynia"),
    ("**Reasoning:** R is so.\n\n**Final Answer:** Gdynia", "R is so.", "Gdynia"),
    ("He lives in St. Louis. So the answer is St. Louis.", "He lives in St. Louis.", "St. Louis"),
    ("因为北京是首都。所以答案是北京。", "因为北京是首都。", "北京"),
    ("R is so.\n\nTherefore, the answer is:\n\nGdynia", "R is so.", "Gdynia"),
    ("R is so.\n\n---\n\n**Answer**\n\nGdynia", "R is so.", "Gdynia"),
    ("R is so. Answer: Gdynia", "R is so.", "Gdynia"),
    ("The answer is Gdynia.\n\nThe ship was built there.", "", "Gdynia"),
    ("\\boxed{Gdynia}", "", "Gdynia"),
    ("Answer: Gdynia", "", "Gdynia"),
    ("R is so. So the answer is Gdynia, because the ship...", "R is so.", "Gdynia"),
    ("R is so. So the answer is **Bath, Maine**, which is a town.", "R is so.", "Bath, Maine"),
    ("R.\n\nThe final answer is: $\\boxed{1{,}000}$.", "R.", "1,000"),
    ("R is so.\n<answer>Gdynia</answer>", "R is so.", "Gdynia"),
    ('R is so. The answer to the question "Which port?" is Gdynia.', "R is so.", "Gdynia"),
    ("I need the answer. R is so", "I need the answer. R is so", None),
]
UNFINISHED = [
    "Gdynia",
    "Answer:\n",
    "The port is:\n\n",
    "```\n",
    '{"answer":\n',
    "\n\n",
    "Sure!\n",
    "\\[\n",
    "word word word word word word word word word word word word word word word \n",
    "```json\n{\n",
    "**Answer**\n",
    "#\n",
]


@pytest.mark.parametrize(("reply", "answer"), DRESSED)
def test_a_direct_answer_is_found_in_what_is_around_it(reply: str, answer: str | None):
    assert answer_line(reply) == answer


ECHOES = [
    ('The answer is "So the answer is"', None),
    ('End with "So the answer is" and the answer in a few words.', None),
    ('It is so. The answer is "Gdynia".', "Gdynia"),
    ('It is so. The answer is:"Gdynia"', "Gdynia"),
    ('Then end with "So the answer is" and it. So the answer is Gdynia.', "Gdynia"),
    ("\u201eAlso lautet die Antwort:\u201c und dann", None),
]


@pytest.mark.parametrize(("chain", "answer"), ECHOES)
def test_an_echo_of_the_prompt_is_no_marker(chain: str, answer: str | None):
    assert chain_answer(chain, ("So the answer is",)).answer == answer


def test_an_instruction_that_begins_like_a_label_is_none():
    assert (
        answer_line("\nAnswer the question from the context.", ("Answer:",))
        == "Answer the question from the context"
    )


def test_labels_without_end_are_enough():
    assert has_answer("Answer:\n" * 5)
    assert not has_answer("Answer:\n" * 4)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_part_of_an_answer_stays(name: str):
    assert answer_line(name) == name
    period = "" if name.endswith(".") else "."
    assert chain_answer(f"This is so. So the answer is {name}{period}")[1] == name


@pytest.mark.parametrize(("chain", "rationale", "answer"), CHAINS)
def test_a_chain_is_split_before_the_sentence_that_answers(chain: str, rationale: str, answer: str | None):
    assert chain_answer(chain) == (rationale, answer)


@pytest.mark.parametrize("reply", UNFINISHED)
def test_a_reply_goes_on_while_its_lines_hold_no_answer(reply: str):
    assert not has_answer(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "Gdynia\n",
        "Answer:\nGdynia\n",
        "\n\nGdynia\n",
        "The answer is Gdynia.\n",
        "```\nGdynia\n",
        '{"answer":\n"x"}\n',
    ],
)
def test_a_reply_may_end_with_the_line_of_its_answer(reply: str):
    assert has_answer(reply)
    assert not has_answer(reply.rstrip("\n"))


@pytest.mark.parametrize(
    ("rationale", "tidied"),
    [
        ("Rationale: The Orzel was launched in Gdynia.", "The Orzel was launched in Gdynia."),
        ("It was launched in Gdynia.\n**Answer:** Gdynia", "It was launched in Gdynia."),
        ("It was launched in Gdynia.\n\n### Answer\nGdynia", "It was launched in Gdynia."),
        ("The answer is in the second paragraph.", "The answer is in the second paragraph."),
        ("", ""),
    ],
)
def test_a_rationale_keeps_neither_its_label_nor_an_answer_under_one(rationale: str, tidied: str):
    assert before_answer(rationale) == tidied


dressing = st.text(alphabet="aB. :*_`#$\\{}\"'-\n1)(", max_size=40)


@given(dressing, dressing)
def test_marks_of_any_kind_leave_a_tidy_answer(before: str, after: str):
    for text in (before + "answer is" + after, before + "Answer:" + after, before + "\\boxed{" + after):
        for answer in (answer_line(text), chain_answer(text)[1]):
            if answer is not None:
                assert answer == answer.strip() != ""
                assert len(answer.splitlines()) == 1
                assert answer_line(answer) == answer


@pytest.mark.parametrize(
    "part",
    [
        "**a ",
        "Answer: x\n",
        "the answer is ",
        '{"a',
        "\\boxed{",
        "`",
        "(a ",
        "A.B.",
        'answer to the question "x ',
        "=nswer:is: **L**",  # what was read was read again for each of these
        "500,",
        "1",
        " ",
        " , ",
        "\u7b54\u6848\u662f",
    ],
)
def test_a_hostile_reply_is_read_in_no_time(part: str):
    started = time.process_time()
    for read in (answer_line, chain_answer, has_answer, before_answer, answer_key):
        read(part * 2000)
        read(f"a {part * 2000}\x01")
    for kind in ("number", "yes-no", "span"):
        AnswerReader(parse_kind(kind)).direct(f"Answer: {part * 2000}.", ROW)
    assert time.process_time() - started < 10
