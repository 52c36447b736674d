"""Models that think, from the file to the answer: llama.cpp, transformers and ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lmcot_cli.backends.base import Backend, Completion, Request, Sampling
from lmcot_cli.backends.constraint import Choices
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.specs import open_model
from lmcot_cli.main import app
from lmcot_export.gguf.write import write_gguf
from lmcot_export.onnx import export_onnx
from tests.tiny_models.thinking import ANSWERS, THOUGHT, write_thinking_folder

QUESTIONS = [Request(question, 0) for question in ANSWERS]
THINK = Sampling(max_tokens=20, stop=("\n",), thinking="on", max_thinking_tokens=80)

Open = Callable[[str, str], Backend]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders: `tags` can be told not to think, `control` always does."""
    root = tmp_path_factory.mktemp("thinking")
    return {
        name: write_thinking_folder(root / name, control_tokens=name == "control")
        for name in ("tags", "control")
    }


@pytest.fixture(scope="module")
def opened(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Open a model in a format: `gguf`, `transformers` or `onnx`."""
    root = tmp_path_factory.mktemp("exports")
    backends: dict[tuple[str, str], Backend] = {}

    def spec(name: str, kind: str) -> str:
        if kind == "gguf":
            return str(write_gguf(models[name], root / f"{name}.gguf", "f32"))
        if kind == "onnx":
            return f"onnx:{export_onnx(models[name], root / name)}"
        return str(models[name])

    def load(name: str, kind: str) -> Backend:
        if (name, kind) not in backends:
            options = EngineOptions(threads=1, parallel=4)
            backends[name, kind] = open_model(spec(name, kind), role="large", aliases={}, options=options)
        return backends[name, kind]

    yield load
    for backend in backends.values():
        backend.close()


KINDS = ["gguf", "transformers", "onnx"]


def write(backend: Backend, sampling: Sampling, requests: list[Request] = QUESTIONS) -> list[Completion]:
    results = backend.complete(requests, sampling)
    assert all(isinstance(result, Completion) for result in results), results
    return [result for result in results if isinstance(result, Completion)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["tags", "control"])
def test_the_thought_is_parted_from_the_answer(opened: Open, name: str, kind: str) -> None:
    completions = write(opened(name, kind), THINK)
    assert [completion.text for completion in completions] == list(ANSWERS.values())
    for completion in completions:
        assert completion.finish_reason == "stop"
        assert completion.thought and completion.thought.text == THOUGHT and completion.thought.finished
        assert 0 < completion.thought.tokens < completion.completion_tokens
        assert completion.logprob and completion.logprob > -0.2


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_ends_with_the_templates_own_token_though_the_models_eos_is_another(
    opened: Open, kind: str
) -> None:
    completions = write(opened("control", kind), replace(THINK, stop=(), max_tokens=60))
    assert [done.text for done in completions] == [f"{answer}\nThat is all." for answer in ANSWERS.values()]
    assert {done.finish_reason for done in completions} == {"stop"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_can_be_told_not_to_think_does_not(opened: Open, kind: str) -> None:
    completions = write(opened("tags", kind), replace(THINK, thinking="off"))
    assert [(done.text, done.thought) for done in completions] == [(a, None) for a in ANSWERS.values()]


def test_auto_leaves_it_to_the_template(opened: Open) -> None:
    assert all(done.thought for done in write(opened("tags", "gguf"), replace(THINK, thinking="auto")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_thought_is_cut_at_its_own_limit(opened: Open, kind: str) -> None:
    for completion in write(opened("tags", kind), replace(THINK, max_thinking_tokens=12)):
        assert (completion.text, completion.finish_reason, completion.completion_tokens) == ("", "length", 12)
        assert completion.thought and not completion.thought.finished
        assert completion.logprob is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_cut_at_its_own_limit(opened: Open, kind: str) -> None:
    for completion in write(opened("tags", kind), replace(THINK, max_tokens=1)):
        assert completion.thought and completion.thought.text == THOUGHT
        assert completion.finish_reason == "length"
        assert completion.completion_tokens == completion.thought.tokens + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["tags", "control"])
def test_a_constraint_holds_for_the_answer_alone(opened: Open, name: str, kind: str) -> None:
    requests = [replace(request, constraint=Choices(("Lille", "Gdynia"))) for request in QUESTIONS]
    completions = write(opened(name, kind), THINK, requests)
    assert [done.text for done in completions] == list(ANSWERS.values())
    assert all(done.thought and done.thought.text == THOUGHT for done in completions)


def answers(folder: Path, model: str, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run `lmcot answer` over `ANSWERS` with the bare question as prompt."""
    (folder / "standard.j2").write_text("{{ row.question }}")
    rows = [{"question": question, "context": "-"} for question in ANSWERS]
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = ["answer", str(folder / "in.jsonl"), "--method", "standard", "--large", model]
    command += ["--prompts", str(folder), "--threads", "1", "--json", *options]
    done = CliRunner().invoke(app, command)
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def gguf(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_gguf(models["tags"], tmp_path_factory.mktemp("gguf") / "thinking.gguf", "f32"))


def test_lmcot_answer_gives_the_answer_without_the_thought(gguf: str, tmp_path: Path) -> None:
    code, rows = answers(tmp_path, gguf, "--thinking", "on")
    assert (code, [row["answer"] for row in rows]) == (0, list(ANSWERS.values()))
    samples = [row["samples"][0] for row in rows]
    assert all(0 < sample["thinking"]["large"] < sample["tokens"] for sample in samples)
    assert [sample["thinking_text"] for sample in samples] == [{}, {}]
    assert "They ask." not in json.dumps(rows)


def test_the_text_of_a_thought_is_kept_if_asked(gguf: str, tmp_path: Path) -> None:
    _, rows = answers(tmp_path, gguf, "--thinking", "on", "--keep-thinking")
    assert [row["samples"][0]["thinking_text"] for row in rows] == [{"large": THOUGHT}] * 2
    assert [row["answer"] for row in rows] == list(ANSWERS.values())


def test_thinking_is_off_by_default(gguf: str, tmp_path: Path) -> None:
    code, rows = answers(tmp_path, gguf)
    assert (code, [row["answer"] for row in rows]) == (0, list(ANSWERS.values()))
    assert [row["samples"][0]["thinking"] for row in rows] == [{}, {}]


def test_a_thought_that_its_limit_cuts_is_an_error_that_names_the_option(gguf: str, tmp_path: Path) -> None:
    code, rows = answers(tmp_path, gguf, "--thinking", "on", "--max-thinking-tokens", "12")
    assert code == 1
    assert all("--max-thinking-tokens" in row["error"]["message"] for row in rows)
