import json
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, TooFewShotsError
from lmcot_cli.prompts.options import ShotsBy
from lmcot_cli.prompts.shots import ShotRows


def record(row_id: str | None, question: str, **more: Any) -> dict[str, Any]:
    named = {} if row_id is None else {"id": row_id}
    return {
        "question": question,
        "context": "None.",
        "answer": "Rome",
        "rationale": "It is so.",
        **named,
    } | more


def write(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "shots.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def row(folder: Path, *records: dict[str, Any]) -> Row:
    """Read the last of some records."""
    path = folder / "asked.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    *_, last = read_rows(path)
    assert isinstance(last, Row)
    return last


def chosen(shots: ShotRows, asked: Row) -> list[str]:
    return [shots.rows[place].question for place in shots.chosen(asked)]


LETTERS = [record(letter, f"Where is {letter}?") for letter in "abcdef"]


def test_the_first_rows_are_the_examples_of_every_row(tmp_path: Path):
    shots = ShotRows(write(tmp_path, *LETTERS), 2, "first", rationales=True)
    for letter in "xyf":
        asked = row(tmp_path, record(letter, f"Where is {letter}?"))
        assert chosen(shots, asked) == ["Where is a?", "Where is b?"]


@pytest.mark.parametrize(
    "itself",
    [
        record("b", "Another wording of the question"),
        record("z", "Where is b?"),
        record("z", "  where IS\tb"),
        record("z", "\uff37here is b\uff1f"),
    ],
)
@pytest.mark.parametrize("by", ["first", "bm25"])
def test_the_row_itself_in_any_form_is_no_example(tmp_path: Path, itself: dict[str, Any], by: ShotsBy):
    shots = ShotRows(write(tmp_path, *LETTERS[:3]), 2, by, rationales=True)
    assert sorted(chosen(shots, row(tmp_path, itself))) == ["Where is a?", "Where is c?"]


def test_the_next_row_steps_in_for_the_row_itself(tmp_path: Path):
    shots = ShotRows(write(tmp_path, *LETTERS), 2, "first", rationales=True)
    assert chosen(shots, row(tmp_path, record("a", "Where is b?"))) == ["Where is c?", "Where is d?"]


@pytest.mark.parametrize("question", ["2 + 3 = ?", "2 - 3 = ?"])
def test_questions_that_differ_in_a_sign_are_two(tmp_path: Path, question: str):
    shots = ShotRows(write(tmp_path, record("a", "2 * 3 = ?")), 1, "first", rationales=True)
    assert chosen(shots, row(tmp_path, record("b", question))) == ["2 * 3 = ?"]


def test_line_numbers_are_no_ids(tmp_path: Path):
    unnamed = [record(None, f"Where is {letter}?") for letter in "abc"]
    shots = ShotRows(write(tmp_path, *unnamed), 3, "first", rationales=True)
    assert len(shots.chosen(row(tmp_path, record(None, "Who is x?"), record(None, "Who is y?")))) == 3
    with pytest.raises(TooFewShotsError):
        shots.chosen(row(tmp_path, record(None, "Who is x?"), record(None, "Where is c?")))


def test_too_few_without_the_row_itself(tmp_path: Path):
    shots = ShotRows(write(tmp_path, *LETTERS[:2]), 2, "first", rationales=True)
    with pytest.raises(
        TooFewShotsError, match=r"^--shots 2: without this row itself .*shots\.jsonl holds only 1; .*--shots$"
    ):
        shots.chosen(row(tmp_path, LETTERS[0]))


def test_the_nearest_questions_by_their_words_stand_last(tmp_path: Path):
    questions = ["Who wrote Dune?", "Where is the river Po?", "Where is the river Nile mouth?", "Who sang?"]
    records = [record(str(number * 7), text) for number, text in enumerate(questions, 1)]
    shots = ShotRows(write(tmp_path, *records), 2, "bm25", rationales=True)
    asked = row(tmp_path, record("x", "Where is the mouth of the river Rhone?"))
    assert chosen(shots, asked) == ["Where is the river Po?", "Where is the river Nile mouth?"]


def test_questions_alike_in_nothing_are_taken_in_the_order_of_the_file(tmp_path: Path):
    shots = ShotRows(write(tmp_path, *LETTERS, record("g", "???")), 2, "bm25", rationales=True)
    for question in ("Quo vadis", "!!!"):
        assert chosen(shots, row(tmp_path, record("x", question))) == ["Where is b?", "Where is a?"]


def test_words_of_a_script_without_spaces_count_by_character(tmp_path: Path):
    records = [
        record("a", "\u8c01\u5199\u4e86\u8fd9\u672c\u4e66"),
        record("b", "\u5df4\u9ece\u5728\u54ea\u91cc"),
    ]
    shots = ShotRows(write(tmp_path, *records), 1, "bm25", rationales=True)
    assert shots.chosen(row(tmp_path, record("x", "\u4f26\u6566\u5728\u54ea\u91cc"))) == [1]


def test_a_question_makes_one_example_however_often_it_stands_in_the_file(tmp_path: Path):
    twice = [
        record("a", "Where is a?"),
        record("a#2", "Where is a?"),
        record("a", "Where is b?"),
        *LETTERS[2:4],
    ]
    shots = ShotRows(write(tmp_path, *twice), 3, "first", rationales=True)
    assert [one.question for one in shots.rows] == ["Where is a?", "Where is c?", "Where is d?"]


CONTEXT = [
    ["Ann", ["Ann is a singer. ", "She was born in Rome."]],
    ["Bo", ["Bo is tall."]],
    ["Rome", ["In Italy."]],
]


def example(folder: Path, **more: Any) -> Row:
    path = write(folder, record("a", "Where was Ann born?", context=CONTEXT, **more))
    return ShotRows(path, 1, "first", rationales=True).rows[0]


def test_an_example_shows_its_supporting_paragraphs_alone(tmp_path: Path):
    shown = example(tmp_path, supporting_facts=[["Rome", 0], ["Ann", 1]])
    assert [paragraph.title for paragraph in shown.context] == ["Ann", "Rome"]
    assert [paragraph.title for paragraph in example(tmp_path).context] == ["Ann", "Bo", "Rome"]


@pytest.mark.parametrize(
    ("fields", "rationale"),
    [
        ({"rationale": "Ann was born in Rome.\n\nSo the answer is: Rome."}, "Ann was born in Rome."),
        ({"rationale": "One.\n\nTwo.", "supporting": [0]}, "One. Two."),
        (
            {"rationale": None, "supporting_facts": [["Rome", 0], ["Ann", 1]]},
            "In Italy. She was born in Rome.",
        ),
        ({"rationale": "", "supporting": [0]}, "Ann is a singer. She was born in Rome."),
        ({"rationale": "So the answer is Rome.", "supporting": [2]}, "In Italy."),
    ],
)
def test_the_rationale_of_an_example(tmp_path: Path, fields: dict[str, Any], rationale: str):
    assert example(tmp_path, **fields).rationale == rationale


def test_an_example_has_the_first_answer_on_one_line(tmp_path: Path):
    assert example(tmp_path, answer=["Rome,\n Italy", "Roma"]).answers == ("Rome, Italy",)


@pytest.mark.parametrize(
    ("records", "rationales", "complaint"),
    [
        (
            [record("a", "Who?", rationale=None), record("b", "What?", answer=None)],
            True,
            r"0 of its 2 rows can be examples, each of which needs an answer and a rationale \(or supporting facts\)"
            r" and a question of its own \(1 have no answer, 1 have no rationale\); --shots 2 needs 2$",
        ),
        (
            [record("a", "Who?"), record("b", "who")],
            True,
            r"1 of its 2 rows can be examples.*--shots 2 needs 2$",
        ),
        (
            [record("a", "Who?", answer=[])],
            False,
            r"0 of its 1 rows.* needs an answer and.*\(1 have no answer\);",
        ),
        ([{"id": "a"}], False, r':1: there is no "question"'),
        ([], False, r": is empty"),
    ],
)
def test_a_file_without_enough_examples(
    tmp_path: Path, records: list[dict[str, Any]], rationales: bool, complaint: str
):
    with pytest.raises(InputError, match=rf"^--shots-from .*shots\.jsonl:? ?{complaint}"):
        ShotRows(write(tmp_path, *records), 2, "first", rationales=rationales)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match=r"^--shots-from .*none\.jsonl: cannot be read: No such file"):
        ShotRows(tmp_path / "none.jsonl", 1, "bm25", rationales=False)


def test_answers_are_enough_where_no_rationale_is_shown(tmp_path: Path):
    shots = ShotRows(write(tmp_path, record("a", "Who?", rationale=None)), 1, "first", rationales=False)
    assert len(shots.rows) == 1


def test_examples_and_questions_may_have_different_columns(tmp_path: Path):
    theirs = {"id": "a", "q": "Who?", "docs": {"text": "None."}, "solution": "Rome"}
    path = write(tmp_path, theirs, record("b", "Where?"))
    fields = (("question", "q"), ("context", "docs.text"), ("answer", "solution"))
    shots = ShotRows(path, 2, "first", rationales=False, fields=fields)
    assert [(one.question, one.context[0].text, one.answers) for one in shots.rows] == [
        ("Who?", "None.", ("Rome",)),
        ("Where?", "None.", ("Rome",)),
    ]


def test_no_more_is_read_than_may_be_needed(tmp_path: Path):
    path = write(tmp_path, *LETTERS[:4])
    with path.open("a") as file:
        file.write("{torn\n")
    shots = ShotRows(path, 2, "first", rationales=True)
    assert len(shots.rows) == 4
    with pytest.raises(InputError, match=r"^--shots-from .*shots\.jsonl:5: not valid JSON"):
        ShotRows(path, 2, "bm25", rationales=True)


def test_the_digest_tells_whether_examples_are_the_same(tmp_path: Path):
    def digest(*records: dict[str, Any]) -> str:
        return ShotRows(write(tmp_path, *records), 1, "first", rationales=True).digest()

    before = digest(*LETTERS[:3])
    assert before.startswith("sha256:")
    assert digest(*LETTERS) == before  # the fourth row is never an example
    assert digest(*LETTERS[:2], LETTERS[2] | {"answer": "Oslo"}) != before
    assert digest(*LETTERS[:2], LETTERS[2] | {"rationale": "So it is."}) != before
