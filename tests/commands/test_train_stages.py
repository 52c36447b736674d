"""`lmcot train` rationales, distill, score, fit-aspects and all, from the command line."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lmcot_cli.commands.train_all import prepare
from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.row import Row
from lmcot_cli.main import app

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
Rows = Callable[..., list[Row]]
Base = Callable[..., Path]


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, words)])


@pytest.fixture
def questions(tmp_path: Path, microhop: Rows) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(to_record(row)) + "\n" for row in microhop(6)))
    return path


@pytest.fixture
def teacher(tmp_path: Path, microhop: Rows) -> str:
    """A large LM that reasons as the gold rationale does, but for the last question, where it errs."""
    rows = microhop(6)
    lines = [
        {
            "match": f"Question: {row.question}\n",
            "text": f"{row.rationale} So the answer is {row.answers[0]}.",
        }
        for row in rows[:-1]
    ]
    wrong = {"match": f"Question: {rows[-1].question}\n", "text": "No idea. So the answer is nowhere."}
    path = tmp_path / "teacher.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, wrong]))
    return f"scripted:{path}"


def table(text: str) -> dict[str, str]:
    """Read the lines of the table of filters."""
    rows = (re.fullmatch(r"(.*\S)\s+([\d,]+)", line.strip()) for line in text.splitlines())
    return {row[1]: row[2] for row in rows if row}


def test_rationales_are_asked_for_filtered_counted_and_not_asked_for_again(
    questions: Path, teacher: str, tmp_path: Path
) -> None:
    output = tmp_path / "rationales.jsonl"
    first = run("rationales", questions, "-o", output, "--large", teacher)
    assert first.exit_code == 0, first.stderr
    counts = table(first.stderr)
    assert (counts["wrong answer"], counts["kept"], counts["together"]) == ("1", "5", "6")
    assert len(output.read_text().splitlines()) == 5
    (tmp_path / "teacher.jsonl").write_text((tmp_path / "teacher.jsonl").read_text())
    again = run("rationales", questions, "-o", output, "--large", teacher, "--min-words", "40")
    assert again.exit_code == 1  # MicroHop's two hops have fewer words
    assert "none of 6 rationales passes the filters; 5 fail by 'too short'" in again.stderr
    assert len(output.read_text().splitlines()) == 5  # what was there is kept


def test_rationales_can_be_answered_from_and_distilled(
    questions: Path, teacher: str, tmp_path: Path, tiny_base: Base
) -> None:
    output, folder = tmp_path / "rationales.jsonl", tmp_path / "run"
    run("rationales", questions, "-o", output, "--large", teacher, "-q")
    answer_script = tmp_path / "answers.jsonl"
    answer_script.write_text('{"match": "Rationale:", "text": "x"}\n')
    words = ["answer", str(output), "--given-rationales", "--large", f"scripted:{answer_script}", "--quiet"]
    answered = CliRunner().invoke(app, words)
    assert answered.exit_code == 0, answered.stderr
    assert len(answered.stdout.splitlines()) == 5
    done = run("distill", output, "--base", tiny_base(), "-o", folder, "--epochs", "1", "--threads", "1")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == str(folder)
    assert "step      1 of 1" in done.stderr
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()


def test_the_supporting_paragraphs_that_the_teacher_reads_take_no_file_of_the_user(
    questions: Path, teacher: str, tmp_path: Path
) -> None:
    asked, theirs = tmp_path / "m.supporting.jsonl", tmp_path / "n.supporting.jsonl"
    questions.rename(asked)
    theirs.write_text("mine")
    before = asked.read_bytes()
    for name in ("m", "n"):
        for _ in range(2):  # the second goes on with the answers of the first
            words = (asked, "-o", tmp_path / f"{name}.jsonl", "--context", "supporting", "--large", teacher)
            done = run("rationales", *words)
            assert done.exit_code == 0, done.stderr
    assert (asked.read_bytes(), theirs.read_text()) == (before, "mine")
    assert json.loads((tmp_path / "m.answers.jsonl.run.json").read_text())["input"] == str(asked)


def test_a_large_lm_that_gives_up_leaves_what_it_answered(
    questions: Path, teacher: str, tmp_path: Path
) -> None:
    script = tmp_path / "teacher.jsonl"
    lines = script.read_text().splitlines(keepends=True)
    script.write_text("".join(lines[:-1]))  # it has nothing to say to the last question
    failed = run("rationales", questions, "-o", tmp_path / "r.jsonl", "--large", teacher)
    assert failed.exit_code == 1
    assert "no reply is left" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "r.jsonl").exists()


def test_either_questions_or_rationales_are_given(questions: Path, tmp_path: Path) -> None:
    for words in ([], [questions, "--from", questions]):
        result = run("rationales", *words, "-o", tmp_path / "r.jsonl")
        assert result.exit_code == 2
        assert "give either QUESTIONS" in result.stderr


def test_score_shows_every_aspect_as_table_and_as_jsonl(questions: Path, tiny_base: Base) -> None:
    shown = run("score", questions, "--rows", "2")
    assert shown.exit_code == 0, shown.stderr
    assert [line.split()[0] for line in shown.stdout.splitlines()][-1] == "all"
    assert len(shown.stdout.splitlines()) == 1 + 2 + 1
    assert "fact factuality" in shown.stderr
    assert "loops: the share of words" in " ".join(shown.stderr.split())
    assert "right" not in shown.stdout + shown.stderr, "no answers: a column would stay empty"
    lines = run("score", questions, "--json", "--reference", tiny_base()).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 6
    assert list(records[0]["aspects"]) == [
        "factuality", "relevance", "logicality", "consistency", "coherence", "fluency", "naturalness", "readability",
    ]  # fmt: skip


def test_score_of_answers_without_their_questions_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "q", "question": "Who?", "samples": [{"rationale": "Ann."}]}\n')
    result = run("score", tmp_path / "a.jsonl")
    assert result.exit_code == 1
    assert "give its questions too, --questions FILE" in result.stderr


def test_fitted_weights_are_taken_by_score(questions: Path, tmp_path: Path, microhop: Rows) -> None:
    rows = microhop(6)
    annotated, weights = tmp_path / "annotated.jsonl", tmp_path / "weights.json"
    good = [to_record(row) | {"label": "good"} for row in rows]
    bad = [r | {"label": "bad", "rationale": "Who knows? Somebody does."} for r in good]
    annotated.write_text("".join(json.dumps(record) + "\n" for record in [*good, *bad]))
    fitted = run("fit-aspects", annotated, "-o", weights)
    assert fitted.exit_code == 0, fitted.stderr
    assert "12 rationales, 6 good" in fitted.stdout
    found = json.loads(weights.read_text())["weights"]
    record = json.loads(run("score", questions, "--json", "--aspect-weights", weights).stdout.splitlines()[0])
    assert record["aspect_mean"] == pytest.approx(sum(found[a] * v for a, v in record["aspects"].items()))


def write_config(path: Path, teacher: str, base: Path, **distilling: Any) -> Path:
    options = {"base": str(base), "epochs": 1, "threads": 1, **distilling}
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    path.write_text(
        f'output = "{path.parent / "out"}"\n[rationales]\nlarge = "{teacher}"\n[distill]\n' + "\n".join(lines)
    )
    return path


def test_all_runs_every_stage_once(questions: Path, teacher: str, tmp_path: Path, tiny_base: Base) -> None:
    with questions.open("a") as file:
        file.write('{"question": 7}\n')  # a row that fails stops nothing
    config = write_config(tmp_path / "train.toml", teacher, tiny_base())
    first = run("all", questions, "--config", config)
    assert first.exit_code == 0, first.stderr
    assert "5 of 7 rows have a rationale; 1 failed" in first.stderr
    assert first.stdout.splitlines()[-1] == str(tmp_path / "out" / "distilled")
    again = run("all", questions, "--config", config)
    assert again.exit_code == 0
    assert again.stderr.count("nothing it was made from has changed") == 2
    assert "step" not in again.stderr


def test_a_mistake_in_the_file_shows_before_anything_runs(
    questions: Path, teacher: str, tmp_path: Path, tiny_base: Base
) -> None:
    for mistake, message in (
        ({"epoch": 2}, "[distill] epoch: unknown key; did you mean 'epochs'?"),
        ({"zz": 2}, "[distill] zz: unknown key; allowed are lora_rank"),
        ({"epochs": "many"}, "[distill] epochs: input should be a valid integer, not 'many'"),
    ):
        config = write_config(tmp_path / "train.toml", teacher, tiny_base(), **mistake)
        result = run("all", questions, "--config", config)
        assert result.exit_code == 1
        assert message in result.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("[rationales]\nlimit = -1", "[rationales] --limit -1"),
        ("[rationales]\nkeep_surest = 5", "[rationales] --keep-surest 5"),
        ("[rationales]\nsamples = 0", "[rationales] --samples 0"),
        ("[rationales]\n[distill]\nbase = 'b'\nseed = -1", "[distill] --seed -1"),
        ("[rationales]\n[distill]\nbase = 'b'\n[refine]\nbatch = 0", "[refine] --batch 0"),
        ("[rationales]\n[distill]\nbase = 'b'\n[export]\nquantize = 'zzz'", "[export] --quantize zzz"),
        ("[rationales]\n[distill]\nbase = 'b'\nhelp = true", "[distill] help: unknown key"),
    ],
)
def test_a_value_that_a_later_stage_cannot_work_with_shows_before_the_first_runs(
    questions: Path, tmp_path: Path, section: str, message: str
) -> None:
    config = tmp_path / "train.toml"
    config.write_text(f'output = "{tmp_path / "out"}"\n{section}\n')
    result = run("all", questions, "--config", config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


EXAMPLES = sorted((ROOT / "examples" / "train").glob("*.toml"))


@pytest.mark.parametrize("config", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_configuration_is_one_that_the_stages_take(config: Path) -> None:
    from lmcot_train.stages import plan, read_recipe

    questions = Path("questions.jsonl")
    stages = plan(read_recipe(config), questions)
    assert [stage.name for stage in stages][:3] == ["rationales", "distill", "refine"]
    for stage in stages:
        assert callable(prepare(stage, questions, config, quiet=True))


def test_the_examples_are_those_that_their_readme_names() -> None:
    readme = (ROOT / "examples" / "train" / "README.md").read_text()
    assert {path.name for path in EXAMPLES} == set(re.findall(r"\]\(([\w.-]+\.toml)\)", readme))
    assert len(EXAMPLES) == 4


def test_the_examples_are_toml() -> None:
    for path in EXAMPLES:
        assert tomllib.loads(path.read_text())["output"].startswith("runs/")


def test_a_teacher_is_asked_with_examples_and_a_system_message(
    tmp_path: Path, questions: Path, teacher: str
) -> None:
    output = tmp_path / "rationales.jsonl"
    asked = ("--shots", "2", "--shots-from", questions, "--large-system", "Reason.")
    assert run("rationales", questions, "-o", output, "--large", teacher, *asked).exit_code == 0
    settings = json.loads((tmp_path / "rationales.answers.jsonl.run.json").read_text())["settings"]
    assert (settings["shots"], settings["large_system"]) == (2, "Reason.")
    refused = run("rationales", questions, "-o", output, "--large", teacher)
    assert refused.exit_code == 1
    assert "shots 2 -> 0" in refused.stderr


@pytest.mark.parametrize("command", ["rationales", "distill", "refine"])
def test_examples_that_cannot_be_are_one_line(tmp_path: Path, questions: Path, command: str) -> None:
    needed: dict[str, tuple[str | Path, ...]] = {
        "rationales": (),
        "distill": ("--base", tmp_path),
        "refine": ("--from", tmp_path),
    }
    for words, message in (
        (("--shots", "2"), "error: --shots 2 needs --shots-from FILE"),
        (("--shots-from", questions), "needs --shots N"),
    ):
        result = run(command, questions, "-o", tmp_path / "out", *needed[command], *words)
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_teacher_thinks_where_it_is_asked_to() -> None:
    from lmcot_cli.commands.train_rationales import teacher_options

    given = {"thinking": "on", "max_thinking_tokens": 99, "answer_regex": "<(.*)>"}
    options = teacher_options(given, None)
    assert (options.method, options.answer_regex) == ("cot", "<(.*)>")
    assert (options.sampling_of("cot").thinking, options.sampling_of("cot").max_thinking_tokens) == ("on", 99)
