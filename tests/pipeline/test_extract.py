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


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (
            "\u0627\u0644\u062c\u0648\u0627\u0628: \u0627\u0644\u0642\u0627\u0647\u0631\u0629",
            "\u0627\u0644\u0642\u0627\u0647\u0631\u0629",
        ),
        (
            "\u05ea\u05e9\u05d5\u05d1\u05d4: \u05d9\u05e8\u05d5\u05e9\u05dc\u05d9\u05dd",
            "\u05d9\u05e8\u05d5\u05e9\u05dc\u05d9\u05dd",
        ),
        ("Cevap: Gdynia", "Gdynia"),
        ("Answer = Gdynia", "Gdynia"),
        ("[ANSWER]: Gdynia", "Gdynia"),
        ("[ANSWER]Gdynia[/ANSWER]", "Gdynia"),
        ("[Answered] Gdynia", "[Answered] Gdynia"),
        ("Answer: c. 1500", "c. 1500"),
    ],
)
def test_labels_of_other_scripts_and_shapes(reply: str, answer: str):
    assert answer_line(reply) == answer


@pytest.mark.parametrize(
    ("chain", "answer"),
    [
        (
            "A. \u0418 \u043e\u0442\u0432\u0435\u0442: \u0413\u0434\u044b\u043d\u044f.",
            "\u0413\u0434\u044b\u043d\u044f",
        ),
        (
            "A. \u0627\u0644\u062c\u0648\u0627\u0628 \u0647\u0648 \u0627\u0644\u0642\u0627\u0647\u0631\u0629.",
            "\u0627\u0644\u0642\u0627\u0647\u0631\u0629",
        ),
        ("A is in B. The answer to this is B.", "B"),
        ("A is in B.\n[ANSWER] B", "B"),
    ],
)
def test_markers_of_other_scripts_and_shapes(chain: str, answer: str):
    assert chain_answer(chain).answer == answer
