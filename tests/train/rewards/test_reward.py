"""The reward as a sum of named parts, and the large LM behind it: asked once, counted, capped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Backend, Completion, ModelIdentity, Reply, Request, Sampling
from lmcot_cli.backends.scripted import ScriptedBackend
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import InputError, ModelError, RowError
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.options import PromptOptions
from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rewards.options import RewardOptions
from lmcot_train.rewards.reward import RationaleReward, RolledOut, reward, task_reward

ROW = Row(
    "1", "Where was Ann born?", (Paragraph("Ann", ("Ann was born in Oslo.",)),), ("Oslo",), None, None, 1
)
RIGHT = RolledOut(ROW, "Ann was born in Oslo.", finished=True, logprob=-0.1)
WRONG = RolledOut(ROW, "Ann was born in Rome.", finished=True, logprob=-0.1)


@pytest.fixture
def large(tmp_path: Path) -> Backend:
    """A large LM that believes the rationale."""
    script = tmp_path / "large.jsonl"
    replies = [
        {"match": "Rationale: Ann was born in Oslo", "text": " Oslo."},
        {"match": "Rationale: Ann was born in Rome", "text": "Rome"},
    ]
    script.write_text("".join(json.dumps(reply) + "\n" for reply in replies))
    return ScriptedBackend(script)


class Refusing(ScriptedBackend):
    """A large LM whose context is too short for any prompt."""

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        return [RowError("the prompt does not fit") for _ in requests]


class Served(ScriptedBackend):
    """A large LM behind an endpoint that answers one call at a time, until its script is at its end."""

    in_background = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.window, self.identity = 2, ModelIdentity("http://host/v1#model", None)

    def poll(self, *, wait: bool = True) -> list[Reply]:
        ticket, request, sampling = self._submitted[0]
        (reply,) = self.complete([request], sampling)
        del self._submitted[0]
        return [(ticket, reply)]


def test_a_right_answer_is_worth_its_weight(large: Backend) -> None:
    right, wrong = RationaleReward(RewardOptions(task_weight=2.0), large, PromptBuilder())([RIGHT, WRONG])
    assert (right.task, right.answer) == (1.0, "Oslo")
    assert (wrong.task, wrong.answer) == (0.0, "Rome")
    assert right.total == pytest.approx(2.0 + 0.5 * right.aspect_mean)
    assert wrong.total == pytest.approx(0.5 * wrong.aspect_mean - 0.25 * 7 / 8)
    assert list(right.aspects) == [
        "factuality", "relevance", "logicality", "consistency", "coherence", "fluency", "naturalness", "readability",
    ]  # fmt: skip


def test_penalties_are_taken_off() -> None:
    options = RewardOptions(loop_penalty=3.0, unfinished_penalty=0.25, unsupported_penalty=0.75)
    looping = RolledOut(ROW, "Oslo Oslo Oslo", finished=False)
    found = reward(looping, "Oslo", options)
    assert found.penalties == {"loops": pytest.approx(3.0 * 2 / 3), "unfinished": 0.25, "unsupported": 0.75}
    assert found.total == pytest.approx(1.0 + 0.5 * found.aspect_mean - 2.0 - 0.25 - 0.75)


def test_a_weight_of_one_aspect_is_that_aspect() -> None:
    found = reward(WRONG, "Rome", RewardOptions(aspect_weights={"factuality": 2.0}))
    assert found.aspect_mean == found.aspects["factuality"] < 1


def test_the_task_is_measured_by_exact_match_or_f1() -> None:
    assert task_reward("the Oslo city", ("Oslo",), "em") == 0.0
    assert task_reward("the Oslo city", ("Oslo",), "f1") == pytest.approx(2 / 3)
    assert task_reward(None, ("Oslo",), "f1") == 0.0


def test_the_large_lm_is_asked_once_for_each_prompt(large: Backend) -> None:
    score = RationaleReward(RewardOptions(), large, PromptBuilder())
    score([RIGHT, WRONG, RIGHT])
    assert (score.answers.calls, score.answers.hits) == (2, 1)
    score([RIGHT])
    assert (score.answers.calls, score.answers.hits) == (2, 2)


def test_no_more_calls_are_made_than_allowed(large: Backend) -> None:
    score = RationaleReward(RewardOptions(max_large_calls=1), large, PromptBuilder())
    score([RIGHT, RIGHT])
    with pytest.raises(LargeCallsSpentError, match="--max-large-calls 1: 1 calls were made and 1 more"):
        score([RIGHT, WRONG])
    assert score.answers.calls == 1
    assert score([RIGHT])[0].task == 1.0


def test_replies_outlive_the_process_and_count(large: Backend, tmp_path: Path) -> None:
    options = RewardOptions(memory=tmp_path / "replies.jsonl", max_large_calls=2)
    RationaleReward(options, large, PromptBuilder())([RIGHT])
    with (tmp_path / "replies.jsonl").open("a") as file:
        file.write('{"key": "torn')
    later = RationaleReward(options, large, PromptBuilder())
    assert later([RIGHT])[0].answer == "Oslo"
    assert (later.answers.calls, later.answers.hits) == (1, 1)
    later([WRONG])
    assert RationaleReward(options, large, PromptBuilder()).answers.calls == 2


def test_a_reply_to_a_prompt_with_examples_is_another_reply(large: Backend, tmp_path: Path) -> None:
    examples = tmp_path / "shots.jsonl"
    row = {"question": "Where?", "context": "Here.", "answer": "Here", "rationale": "It is here."}
    examples.write_text(json.dumps(row))
    options = RewardOptions(memory=tmp_path / "replies.jsonl")
    for asked in (
        PromptOptions(),
        PromptOptions(shots=1, shots_from=examples),
        PromptOptions(large_system="Answer."),
    ):
        for calls in (1, 0):
            score = RationaleReward(options, large, PromptBuilder(asked))
            before = score.answers.calls
            assert score([RIGHT])[0].answer == "Oslo"
            assert score.answers.calls - before == calls


def test_replies_before_an_endpoint_died_are_kept_and_what_was_asked_counts(tmp_path: Path) -> None:
    script = tmp_path / "large.jsonl"
    items = [replace(RIGHT, rationale=f"Rationale {number}.") for number in range(5)]
    script.write_text('"Oslo"\n"Rome"\n')  # dies at the third
    options = RewardOptions(memory=tmp_path / "replies.jsonl", max_large_calls=7)
    with pytest.raises(ModelError, match="no reply is left"):
        RationaleReward(options, Served(script), PromptBuilder())(items)
    script.write_text('"Bergen"\n"Turku"\n"Riga"\n')
    resumed = RationaleReward(options, Served(script), PromptBuilder())
    assert resumed.answers.calls == 4, "two were answered, two more were on their way"
    assert [one.answer for one in resumed(items)] == ["Oslo", "Rome", "Bergen", "Turku", "Riga"]
    assert (resumed.answers.calls, resumed.answers.hits) == (7, 2)
    with pytest.raises(LargeCallsSpentError, match="7 calls were made and 1 more"):
        resumed([replace(RIGHT, rationale="Another.")])


def test_what_a_model_on_this_machine_was_asked_counts_too(large: Backend, tmp_path: Path) -> None:
    """Its replies are asked for again together, so that a resume learns from the same ones."""
    options = RewardOptions(memory=tmp_path / "replies.jsonl")
    with pytest.raises(ModelError, match="no reply is left"):
        RationaleReward(options, large, PromptBuilder())([RIGHT, replace(RIGHT, rationale="Something else.")])
    resumed = RationaleReward(options, large, PromptBuilder())
    assert resumed.answers.calls == 2
    resumed([RIGHT])
    assert (resumed.answers.calls, resumed.answers.hits) == (3, 0)


def test_a_memory_that_does_not_say_what_was_asked_counts_its_replies(large: Backend, tmp_path: Path) -> None:
    memory = tmp_path / "replies.jsonl"
    RationaleReward(RewardOptions(memory=memory), large, PromptBuilder())([RIGHT])
    memory.write_text("".join(line for line in memory.read_text().splitlines(True) if "asked" not in line))
    assert RationaleReward(RewardOptions(memory=memory), large, PromptBuilder()).answers.calls == 1


def test_a_file_of_something_else_is_no_memory(large: Backend, tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(InputError, match="holds something other than replies"):
        RationaleReward(RewardOptions(memory=tmp_path / "replies.jsonl"), large, PromptBuilder())


def test_a_prompt_the_large_lm_refuses_has_no_answer_and_is_counted(large: Backend, tmp_path: Path) -> None:
    score = RationaleReward(RewardOptions(), Refusing(tmp_path / "large.jsonl"), PromptBuilder())
    (found,) = score([RIGHT])
    assert (found.answer, found.task, score.answers.refused) == (None, 0.0, 1)


def test_a_large_lm_that_cannot_go_on_ends_the_run(large: Backend) -> None:
    score = RationaleReward(RewardOptions(), large, PromptBuilder())
    with pytest.raises(ModelError, match="no reply is left"):
        score([replace(RIGHT, rationale="Something else.")])


def test_the_large_lm_sees_what_answering_shows_it(tmp_path: Path) -> None:
    """The reward's prompt and reading of the reply are those of `lmcot answer`."""
    script = tmp_path / "large.jsonl"
    script.write_text(
        json.dumps({"match": "Rationale: Ann was born in Oslo.\n", "text": '"Oslo".\nmore'}) + "\n"
    )
    questions = tmp_path / "questions.jsonl"
    record = {"id": "1", "question": ROW.question, "context": [["Ann", ["Ann was born in Oslo."]]]}
    questions.write_text(json.dumps(record | {"rationale": RIGHT.rationale}))
    options = AnswerOptions(large=f"scripted:{script}", given_rationales=True)
    (answered,) = AnswerRun(questions, options).results()
    (rewarded,) = RationaleReward(RewardOptions(), ScriptedBackend(script), PromptBuilder())([RIGHT])
    assert answered.answer == rewarded.answer == "Oslo"
