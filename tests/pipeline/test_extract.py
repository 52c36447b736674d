import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.pipeline.extract import answer_line, chain_answer

words = st.from_regex(r"[A-Za-z0-9]{2,8}( [A-Za-z0-9]{2,8}){0,4}", fullmatch=True).filter(
    lambda text: "answer is" not in text.lower()
)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (" Paris.\n", "Paris"),
        ("\n\nParis\nQuestion: next", "Paris"),
        ("U.S.", "U.S."),
        ("9 a.m.", "9 a.m."),
        ("Washington, D.C.", "Washington, D.C."),
        ("Acme Inc.", "Acme Inc"),
        ("wait...", "wait..."),
        ('"Paris."', "Paris"),
        ('"Paris".', "Paris"),
        ("\u201cHello, World\u201d", "Hello, World"),
        ('"A" and "B"', '"A" and "B"'),
        ("rock 'n' roll", "rock 'n' roll"),
        ("**Paris**.", "Paris"),
        ("3.14", "3.14"),
        ("", None),
        (" \n ", None),
        (".", None),
        ('""', None),
    ],
)
def test_answer_line(completion: str, answer: str | None):
    assert answer_line(completion) == answer


@pytest.mark.parametrize(
    ("chain", "rationale", "answer"),
    [
        ("A is in B. So the answer is B.", "A is in B.", "B"),
        ("A is in B. The ANSWER IS: B", "A is in B.", "B"),
        ("First the answer is A. But no. So the answer is B.\nMore.", "First the answer is A. But no.", "B"),
        ("So the answer is B.", "", "B"),
        ("A is in B!\nthe answer is\n\n C.", "A is in B!", "C"),
        ('He said "yes." So the answer is "yes".', 'He said "yes."', "yes"),
        ("A is in B, and that is all", "A is in B, and that is all", None),
        ("A is in B. So the answer is", "A is in B.", None),
        ("The answers is here.", "The answers is here.", None),
        ("", "", None),
    ],
)
def test_chain_answer(chain: str, rationale: str, answer: str | None):
    assert chain_answer(chain) == (rationale, answer)


@given(words, words)
def test_a_chain_gives_back_its_rationale_and_its_answer(rationale: str, answer: str):
    assert chain_answer(f"{rationale}. So the answer is {answer}.") == (f"{rationale}.", answer)


@given(st.text())
def test_any_text_is_read_and_what_is_found_is_tidy(text: str):
    for answer in (answer_line(text), chain_answer(text)[1]):
        if answer is not None:
            assert answer == answer.strip() != ""
            assert len(answer.splitlines()) == 1
            assert answer_line(answer) == answer
