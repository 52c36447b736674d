import json
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.backends.base import Sampling, Shot
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import InputError, UsageError
from lmcot_cli.prompts.conversation import PromptBuilder, chain_reply
from lmcot_cli.prompts.options import PromptOptions, Stage
from lmcot_cli.prompts.render import Prompts

ASKED = Row("x", "Who is x?", (Paragraph("", ("X is.",)),), (), None, None, 1)
SHOWN = [
    {"id": letter, "question": f"Who is {letter}?", "context": [[letter.upper(), [f"{letter} is tall."]]]}
    | {"answer": f"{letter}son", "rationale": f"{letter} is the one."}
    for letter in "abc"
]


@pytest.fixture
def shots_from(tmp_path: Path) -> Path:
    path = tmp_path / "shots.jsonl"
    path.write_text("\n".join(map(json.dumps, SHOWN)))
    return path


def test_nothing_stands_before_a_prompt_by_itself():
    request = PromptBuilder().request("cot", ASKED)
    assert request.prompt == request.text == Prompts().render("cot", ASKED)
    assert (request.system, request.shots, request.seed) == (None, (), 0)


@pytest.mark.parametrize(
    ("stage", "end_of_prompt", "reply"),
    [
        ("standard", "Question: Who is b?\nGive only the answer, in a few words.\nAnswer:", "bson"),
        ("cot", "and the answer in a few words.\nReasoning:", "b is the one. So the answer is bson."),
        ("guided_rationale", "one short sentence each.\nRationale:", "b is the one."),
        (
            "guided_answer",
            "Rationale: b is the one.\nGive only the answer, in a few words.\nAnswer:",
            "bson",
        ),
    ],
)
def test_an_example_is_the_stages_own_prompt_with_its_reply(
    shots_from: Path, stage: Stage, end_of_prompt: str, reply: str
):
    prompts = PromptBuilder(PromptOptions(shots=2, shots_from=shots_from))
    request = prompts.request(stage, ASKED, "Because.")
    first, second = request.shots
    assert second.prompt.startswith("Answer the question from the context.\n\nContext:\nB: b is tall.\n")
    assert second.prompt.endswith(end_of_prompt)
    assert second.reply == reply
    assert first.reply == reply.replace("b", "a", 1).replace("bson", "ason")
    assert request.prompt == Prompts().render(stage, ASKED, "Because.")


def test_examples_are_rendered_once_for_all_rows(shots_from: Path):
    prompts = PromptBuilder(PromptOptions(shots=1, shots_from=shots_from))
    one, other = prompts.request("cot", ASKED), prompts.request("cot", ASKED)
    assert one.shots[0] is other.shots[0]


def test_each_role_has_its_own_system_message(tmp_path: Path):
    (tmp_path / "large").write_text("Answer.\n")
    prompts = PromptBuilder(PromptOptions(small_system="Reason.", large_system=str(tmp_path / "large")))
    systems = {
        stage: prompts.request(stage, ASKED, "").system for stage in ("standard", "cot", "guided_answer")
    }
    assert systems == dict.fromkeys(systems, "Answer.")
    assert prompts.request("guided_rationale", ASKED).system == "Reason."


def test_a_system_message_that_nobody_is_told_is_not_looked_at():
    options = PromptOptions(small_system="none.txt", large_system="Answer.")
    assert PromptBuilder(options, ("cot",)).settings()["small_system"] is None


def test_the_settings_name_what_stands_before_a_prompt(shots_from: Path):
    nothing = PromptBuilder(PromptOptions(), ("standard",)).settings()
    assert nothing.pop("prompts") == Prompts().digest()
    assert nothing == {
        "shots": 0,
        "shots_by": None,
        "shots_digest": None,
        "small_system": None,
        "large_system": None,
    }
    options = PromptOptions(shots=1, shots_from=shots_from, shots_by="bm25", large_system="Answer.")
    settings = PromptBuilder(options, ("cot",)).settings()
    assert (settings["shots"], settings["shots_by"], settings["large_system"]) == (1, "bm25", "Answer.")
    assert str(settings["shots_digest"]).startswith("sha256:")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"shots": -1}, "--shots -1: give the number of examples"),
        ({"shots": 3}, "--shots 3 needs --shots-from FILE"),
        ({"shots_from": Path("a.jsonl")}, r"--shots-from a\.jsonl needs --shots N"),
        ({"shots": 1, "shots_from": Path("-")}, "--shots-from -: .* give a file"),
        ({"shots_by": "last"}, "--shots-by last: choose one of first, bm25"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], complaint: str):
    with pytest.raises(UsageError, match=f"^{complaint}"):
        PromptBuilder(PromptOptions(**options))


def test_a_reply_ends_where_another_example_would_begin(shots_from: Path):
    plain = Sampling(stop=("\nQuestion:",))
    assert PromptBuilder().sampling("cot", plain) is plain
    prompts = PromptBuilder(PromptOptions(shots=1, shots_from=shots_from))
    assert prompts.sampling("cot", plain).stop == ("\nQuestion:", "\nAnswer the question from the context.")
    one_line = Sampling(stop=("\n",))
    assert prompts.sampling("standard", one_line) is one_line


def test_a_reply_that_is_another_example_is_none(shots_from: Path):
    begun = "\n\nAnswer the question from the context.\n\nContext:"
    assert PromptBuilder().own_words("standard", begun) == begun
    prompts = PromptBuilder(PromptOptions(shots=1, shots_from=shots_from))
    assert prompts.own_words("standard", begun) == ""
    assert prompts.own_words("standard", "\nRome\n\nAnswer the") == "\nRome\n\nAnswer the"


@pytest.mark.parametrize(
    ("template", "stop"),
    [
        ("Q: {{ row.question }}\nA:", ("\nQ:",)),
        ("\n  Q: {{ row.question }}", ("\nQ:",)),
        ("{{ row.question }}\nA:", ()),
        ("{{ row.context[0].text }}\nA:", ()),
        ("{% for p in row.context %}{{ p.text }}\n{% endfor %}Q:", ()),
    ],
)
def test_only_what_every_prompt_begins_with_ends_a_reply(
    tmp_path: Path, shots_from: Path, template: str, stop: tuple[str, ...]
):
    (tmp_path / "cot.j2").write_text(template)
    prompts = PromptBuilder(PromptOptions(tmp_path, 1, shots_from))
    assert prompts.sampling("cot", Sampling()).stop == stop


def test_a_template_that_does_not_fit_the_examples_is_told_at_once(tmp_path: Path, shots_from: Path):
    (tmp_path / "cot.j2").write_text("{{ row.extra.hint }} {{ row.question }}")
    with pytest.raises(
        InputError, match=r"^--shots-from .*shots\.jsonl: .*cot\.j2:1: row 'a' has no other column"
    ):
        PromptBuilder(PromptOptions(tmp_path, 1, shots_from), ("cot",))


@pytest.mark.parametrize(
    ("answer", "chain"),
    [("Rome", "It is. So the answer is Rome."), ("the U.S.", "It is. So the answer is the U.S.")],
)
def test_a_chain_ends_in_its_answer(answer: str, chain: str):
    assert chain_reply("It is.", answer) == chain


def test_as_plain_text_blank_lines_part_the_examples(shots_from: Path):
    options = PromptOptions(shots=1, shots_from=shots_from, large_system="Be brief.")
    request = PromptBuilder(options).request("standard", ASKED)
    assert request.shots == (Shot(request.shots[0].prompt, "ason"),)
    assert request.text == f"Be brief.\n\n{request.shots[0].prompt} ason\n\n{request.prompt}"
