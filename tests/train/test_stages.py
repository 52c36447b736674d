"""The whole of training as one file: what runs, what is skipped, what starts anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmcot_cli.config import read_section
from lmcot_cli.errors import InputError, OutputError
from lmcot_cli.settings.declaration import file_section
from lmcot_train.lora import LoraOptions
from lmcot_train.stages import Recipe, Stage, StageName, Value, plan, read_recipe, run_stages

Section = dict[str, Value]


class Commands:
    """Stand-ins for what the stages do: each notes its words and writes its output."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, ...]] = []
        self.fails_at = ""

    def __call__(self, stage: Stage, anew: bool) -> None:
        words = (*stage.words, "--overwrite") if anew else stage.words
        self.ran.append(words)
        output = Path(words[words.index("-o") + 1])
        if self.fails_at in words:
            raise KeyboardInterrupt
        if "rationales" in words:
            output.write_text(" ".join(words))
        else:
            (output / "adapter").mkdir(parents=True, exist_ok=True)
            (output / "adapter" / "adapter_model.safetensors").write_text(" ".join(words))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("{}")
    return path


def recipe(folder: Path, **distill: int) -> Recipe:
    sections = {"rationales": {"samples": 4}, "distill": {"base": "b", **distill}, "refine": {"full": True}}
    return Recipe(folder / "out", sections)  # type: ignore[arg-type]


def run(made: Recipe, questions: Path, commands: Commands) -> list[str]:
    made.output.mkdir(exist_ok=True)
    commands.ran.clear()
    commands.fails_at = commands.fails_at or "nothing"
    return list(run_stages(plan(made, questions), made.output, commands, lambda line: None))


def test_each_stage_reads_what_the_one_before_made(tmp_path: Path, questions: Path) -> None:
    out = tmp_path / "out"
    stages = plan(recipe(tmp_path), questions)
    assert [stage.words for stage in stages] == [
        ("train", "rationales", str(questions), "-o", str(out / "rationales.jsonl"), "--samples=4"),
        ("train", "distill", str(out / "rationales.jsonl"), "-o", str(out / "distilled"), "--base=b"),
        ("train", "refine", str(questions), "--from", str(out / "distilled"), "-o", str(out / "refined"), "--full"),
    ]  # fmt: skip


def test_nothing_is_done_twice(tmp_path: Path, questions: Path) -> None:
    commands = Commands()
    assert run(recipe(tmp_path), questions, commands) == ["rationales", "distill", "refine"]
    assert run(recipe(tmp_path), questions, commands) == []


def test_a_changed_option_starts_its_stage_and_the_later_ones_anew(tmp_path: Path, questions: Path) -> None:
    commands = Commands()
    run(recipe(tmp_path), questions, commands)
    assert run(recipe(tmp_path, epochs=2), questions, commands) == ["distill", "refine"]
    assert all(words[-1] == "--overwrite" for words in commands.ran)


def test_changed_questions_start_everything_anew(tmp_path: Path, questions: Path) -> None:
    commands = Commands()
    run(recipe(tmp_path), questions, commands)
    questions.write_text("{} {}")
    assert run(recipe(tmp_path), questions, commands)[0] == "rationales"
    assert "--overwrite" in commands.ran[0]


def test_other_filters_ask_the_teacher_nothing_anew(tmp_path: Path, questions: Path) -> None:
    commands = Commands()
    run(recipe(tmp_path), questions, commands)
    other = recipe(tmp_path)
    other = Recipe(other.output, {**other.sections, "rationales": {"samples": 4, "min_words": 6}})
    assert run(other, questions, commands) == ["rationales", "distill", "refine"]
    assert "--overwrite" not in commands.ran[0]
    assert "--overwrite" in commands.ran[1]


def test_an_interrupted_stage_is_gone_on_with(tmp_path: Path, questions: Path) -> None:
    commands = Commands()
    commands.fails_at = "distill"
    with pytest.raises(KeyboardInterrupt):
        run(recipe(tmp_path), questions, commands)
    commands.fails_at = ""
    assert run(recipe(tmp_path), questions, commands) == ["distill", "refine"]
    assert "--overwrite" not in commands.ran[0]


def test_a_lost_output_is_made_again(tmp_path: Path, questions: Path) -> None:
    commands = Commands()
    run(recipe(tmp_path), questions, commands)
    (tmp_path / "out" / "refined" / "adapter" / "adapter_model.safetensors").unlink()
    assert run(recipe(tmp_path), questions, commands) == ["refine"]


def test_a_base_that_changed_counts(tmp_path: Path, questions: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_text("one")
    made = Recipe(tmp_path / "out", {"rationales": {}, "distill": {"base": str(base)}})
    commands = Commands()
    run(made, questions, commands)
    (base / "model.safetensors").write_text("two")
    assert run(made, questions, commands) == ["distill"]


def test_templates_that_changed_count(tmp_path: Path, questions: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "cot.txt").write_text("one")
    made = Recipe(tmp_path / "out", {"rationales": {"prompts": str(prompts)}})
    commands = Commands()
    run(made, questions, commands)
    assert run(made, questions, commands) == []
    (prompts / "cot.txt").write_text("two")
    assert run(made, questions, commands) == ["rationales"]
    assert "--overwrite" in commands.ran[0]


@pytest.mark.parametrize(
    ("stage", "before", "after", "anew"),
    [
        ("refine", {"max_large_calls": 5}, {"max_large_calls": 10}, False),
        ("refine", {"updates": 5, "minutes": 1.5}, {"updates": 10}, False),
        ("refine", {}, {"save_every": 2, "tokens_per_pass": 512}, False),
        ("refine", {"updates": 5, "decay": 0.5}, {"updates": 10, "decay": 0.5}, True),
        ("refine", {"decay": 0.5}, {"max_large_calls": 10, "decay": 0.5}, False),
        ("refine", {"clip": 0.1}, {"clip": 0.2}, True),
        ("distill", {"micro_batch": 8}, {"micro_batch": 4}, False),
    ],
)
def test_a_limit_that_is_raised_deletes_nothing(
    tmp_path: Path, questions: Path, stage: StageName, before: Section, after: Section, anew: bool
) -> None:
    commands = Commands()
    first = recipe(tmp_path)
    for settings in (before, after):
        changed = Recipe(first.output, {**first.sections, stage: {**first.sections[stage], **settings}})
        assert stage in run(changed, questions, commands)
    assert ("--overwrite" in next(words for words in commands.ran if stage in words)) == anew


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[distill", "is not valid TOML"),
        ("[distill]\nbase = 'b'", 'needs output = "FOLDER"'),
        ("output = 'o'", "names no stage"),
        (
            "output = 'o'\n[teacher]",
            r"\[teacher\]: unknown section; there are rationales, distill, refine, export",
        ),
        ("output = 'o'\ndistill = 3", "distill must be a section"),
        ('output = "a\\u0000b"\n[distill]', 'needs output = "FOLDER"'),
        (f"x = {'[' * 50_000}", "is nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_recipe(path)


def test_a_stage_without_the_one_it_needs_is_refused(tmp_path: Path, questions: Path) -> None:
    with pytest.raises(InputError, match=r"\[refine\] needs \[distill\]"):
        plan(Recipe(tmp_path, {"refine": {}}), questions)


def test_a_value_too_long_for_a_file_is_no_file(tmp_path: Path, questions: Path) -> None:
    made = Recipe(tmp_path / "out", {"rationales": {}, "distill": {"base": "a" * 5000}})
    assert plan(made, questions)[1].inputs == (tmp_path / "out" / "rationales.jsonl",)


@pytest.mark.parametrize("damage", ["[", "[]", '{"rationales": 5}', "5", "[" * 50_000, '{"a": null}'])
def test_a_record_of_the_stages_that_is_damaged_is_named(
    tmp_path: Path, questions: Path, damage: str
) -> None:
    commands = Commands()
    run(recipe(tmp_path), questions, commands)
    (tmp_path / "out" / "stages.json").write_text(damage)
    with pytest.raises(OutputError, match=r"stages\.json: is .*; remove it") as caught:
        run(recipe(tmp_path), questions, commands)
    assert "\n" not in str(caught.value)
    assert commands.ran == []


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000])
def test_a_number_without_end_ends_in_a_line(tmp_path: Path, number: str) -> None:
    (tmp_path / "r.toml").write_text(f'output = "runs"\n[rationales]\nsamples = {number}\n')
    with pytest.raises(InputError, match="more than 64 bits"):
        read_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize("name", ["x" * 50_000, "a\\nb"])
def test_a_name_that_is_none_ends_in_a_short_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(f'output = "runs"\n["{name}"]\n')
    with pytest.raises(InputError) as of_a_section:
        read_recipe(file)
    with pytest.raises(InputError) as of_a_key:
        read_section(file_section("Distill", LoraOptions), {name.replace("\\n", "\n"): []}, "[distill]")
    for caught in (of_a_section, of_a_key):
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
