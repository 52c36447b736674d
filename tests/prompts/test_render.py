from dataclasses import replace
from pathlib import Path

import pytest

from lmcot_cli.datasets.row import Columns, Paragraph, Row
from lmcot_cli.errors import InputError, RowError
from lmcot_cli.prompts.render import Prompts

ROW = Row("q1", "Where is Lyon?", (Paragraph("Lyon", ("It is in France.",)),), (), None, None, 1)


@pytest.mark.parametrize("stage", ["standard", "cot", "guided_rationale", "guided_answer"])
def test_every_prompt_starts_with_context_and_question_and_ends_in_its_cue(stage):
    prompt = Prompts().render(stage, ROW, rationale="Lyon lies there.")

    assert "Lyon: It is in France.\n" in prompt.split("Question: Where is Lyon?")[0]
    assert prompt.endswith(":")


def test_a_template_of_ones_own_takes_the_place_of_ours_and_may_include_ours(tmp_path: Path):
    (tmp_path / "standard.j2").write_text('{% include "_question.j2" %}\nIn French:')
    prompts = Prompts(tmp_path)

    assert prompts.render("standard", ROW).startswith("Answer the question from the context.")
    assert prompts.render("standard", ROW).endswith("In French:")
    assert prompts.render("cot", ROW) == Prompts().render("cot", ROW)


def test_the_digest_tells_whether_templates_differ(tmp_path: Path):
    ours = Prompts().digest()
    (tmp_path / "cot.j2").write_text("Think. {{ row.question }}")
    first = Prompts(tmp_path).digest()
    (tmp_path / "cot.j2").write_text("Think! {{ row.question }}")

    assert ours == Prompts().digest()
    assert ours.startswith("sha256:")
    assert len({ours, first, Prompts(tmp_path).digest()}) == 3


@pytest.mark.parametrize(
    "text",
    [
        *[
            "{{ row.",
            "{{ nothing }}",
            "{{ row.nothing }}",
            '{% include "none.j2" %}',
            '{% include "cot.j2" %}',
            '{% include "' + "9" * 400 + '" %}',
            '{% include "a\\0b" %}',
        ],
        *["{{ 1 / 0 }}", "{{ row.question + 1 }}", "{% for i in range(10 ** 9) %}{% endfor %}"],
    ],
)
def test_a_template_that_cannot_be_rendered_is_an_error_of_ours(tmp_path: Path, text: str):
    (tmp_path / "cot.j2").write_text(text)

    with pytest.raises(InputError, match=r"/cot\.j2:1: "):
        Prompts(tmp_path).render("cot", ROW)


def test_a_template_that_is_no_text(tmp_path: Path):
    (tmp_path / "cot.j2").write_bytes(b"\xff")

    with pytest.raises(InputError, match=r"cot\.j2: the template is not UTF-8"):
        Prompts(tmp_path).digest()


def test_a_folder_that_overrides_nothing_is_refused(tmp_path: Path):
    (tmp_path / "cott.j2").write_text("x")

    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(
            InputError, match="no folder with a template to use: name the file as one of _question"
        ):
            Prompts(folder)


def test_the_lock_of_an_editor_is_no_template(tmp_path: Path):
    (tmp_path / "cot.j2").write_text("Think.")
    digest = Prompts(tmp_path).digest()
    (tmp_path / ".#cot.j2").symlink_to("someone@somewhere")

    assert Prompts(tmp_path).digest() == digest


@pytest.mark.parametrize("stage", ["standard", "cot", "guided_rationale", "guided_answer"])
def test_a_closed_book_prompt_does_not_speak_of_a_context(stage):
    prompt = Prompts().render(stage, replace(ROW, context=()), rationale="Lyon lies there.")

    assert prompt.startswith("Answer the question.\n\nQuestion: Where is Lyon?\n")
    assert "ontext" not in prompt and "  " not in prompt
    assert prompt.endswith(":")


def test_the_words_of_a_prompt_with_a_context_are_those_the_embedded_pair_learnt():
    assert Prompts().render("guided_rationale", ROW) == (
        "Answer the question from the context.\n\nContext:\nLyon: It is in France.\n\nQuestion: Where is Lyon?\n"
        "Write the facts from the context that lead to the answer, one short sentence each.\nRationale:"
    )
    assert (
        Prompts()
        .render("cot", ROW)
        .endswith(
            'Reason step by step from the context, then end with "So the answer is" and the answer in a few words.'
            "\nReasoning:"
        )
    )


def test_other_columns_reach_templates(tmp_path: Path):
    (tmp_path / "cot.j2").write_text("{{ row.extra.choices | join('/') }} {{ row.extra.items }}")
    row = replace(ROW, extra=Columns(choices=["a", "b"], items=3))

    assert Prompts(tmp_path).render("cot", row) == "a/b 3"


def test_a_column_that_a_row_lacks_is_that_rows_error_and_names_both(tmp_path: Path):
    (tmp_path / "cot.j2").write_text("{{ row.question }}\n{{ row.extra.choices }}")
    row = replace(ROW, extra=Columns(level=1))

    with pytest.raises(RowError, match=r"cot\.j2:2: row 'q1' has no other column 'choices' \(it has level\)"):
        Prompts(tmp_path).render("cot", row)
    (tmp_path / "cot.j2").write_text("{{ row.extra.choices | default('none') }}")
    assert Prompts(tmp_path).render("cot", row) == "none"


def test_choices_are_listed_after_the_question_and_change_nothing_where_there_are_none():
    listed = Prompts(choices_of=lambda row: ("Lyon", "Nice")).render("standard", ROW)
    assert "\n\nChoices:\n- Lyon\n- Nice\n\nGive only" in listed
    assert listed.replace("\n\nChoices:\n- Lyon\n- Nice\n", "") == Prompts().render("standard", ROW)
