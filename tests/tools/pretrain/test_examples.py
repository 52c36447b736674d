from random import Random

import pytest
from tokenizers import Tokenizer

from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.datasets.microhop.names import NameBook
from lmcot_cli.datasets.microhop.questions import plan
from lmcot_cli.datasets.microhop.world import World
from lmcot_cli.datasets.native import to_row
from lmcot_cli.prompts.options import Stage
from lmcot_cli.prompts.render import Prompts
from tools.pretrain.examples import (
    MENTION,
    NO_QUESTION,
    PREVIOUS,
    VALUE,
    Difficulty,
    ExampleMaker,
    PretrainExample,
    Task,
    restatement,
)
from tools.pretrain.run import RECIPES, STAGES
from tools.pretrain.tokenizer import EOS, train_tokenizer

TASKS: tuple[Task, ...] = (*STAGES, "restate")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    prompts = Prompts()
    found = list(records(MicroHopOptions(rows=150, seed=9, split="train")))
    texts = [prompts.render(stage, to_row(record, 1), "x") for record in found for stage in STAGES]
    return train_tokenizer([*texts, *(str(record["rationale"]) for record in found)], 2304)


def _make(tokenizer: Tokenizer, tasks: tuple[Task, ...], seed: int) -> PretrainExample:
    return ExampleMaker(tokenizer, tasks, Random(seed)).make(Difficulty(distractors=5, questions=6))


def _segment(tokenizer: Tokenizer, example: PretrainExample, number: int) -> tuple[str, str]:
    """The text that a segment's tokens see, and the part of it that is trained on."""
    mine = [i for i, segment in enumerate(example.segments) if segment in (0, number)]
    trained = [example.targets[i] for i in mine if example.targets[i] != -100]
    return (
        tokenizer.decode([example.tokens[i] for i in mine], skip_special_tokens=False),
        tokenizer.decode(trained, skip_special_tokens=False),
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_segment_with_the_context_is_a_prompt_of_the_templates_and_its_completion(
    tokenizer: Tokenizer, stage: Stage
) -> None:
    example = _make(tokenizer, (stage,), 1)
    cue = {
        "standard": "\nAnswer:",
        "cot": "\nReasoning:",
        "guided_rationale": "\nRationale:",
        "guided_answer": "\nAnswer:",
    }
    for number in range(1, 7):
        text, trained = _segment(tokenizer, example, number)
        prompt, _, completion = text.rpartition(cue[stage])
        assert prompt.startswith("<s>Answer the question from the context.\n\nContext:\n")
        assert text.endswith(EOS)
        assert trained.endswith(completion)
        if stage == "guided_answer":
            assert trained.strip().startswith(prompt.split("\nRationale: ")[1].splitlines()[0])
        else:
            assert trained == completion


@pytest.mark.parametrize("seed", range(10))
def test_the_base_never_sees_a_question_with_a_rationale(tokenizer: Tokenizer, seed: int) -> None:
    example = _make(tokenizer, RECIPES["base"].tasks, seed)
    for number in range(1, 7):
        text, _ = _segment(tokenizer, example, number)
        question = text.split("\nQuestion: ")[1].splitlines()[0]
        assert ("\nRationale:" in text) == (question == NO_QUESTION)


def test_a_restatement_tells_facts_of_the_context(tokenizer: Tokenizer) -> None:
    """Its prompt is a rationale's, but for the question; what it tells is drawn from the world."""
    example = _make(tokenizer, ("restate",), 1)
    texts = [_segment(tokenizer, example, number) for number in range(1, 7)]
    for text, trained in texts:
        assert text.startswith("<s>Answer the question from the context.\n\nContext:\n")
        assert text.endswith(f"\nRationale:{trained}")
        assert trained.endswith(f".{EOS}")
    assert len({trained for _, trained in texts}) > 1


@pytest.mark.parametrize("seed", range(20))
def test_a_restatement_says_no_fact_twice_and_none_that_the_world_lacks(seed: int) -> None:
    random = Random(seed)
    world = World(random, NameBook(random, "train"))
    plan(world, random, 3)
    facts = [sentence.fact for sentence in restatement(world, random)]
    assert 1 <= len(facts) <= 5
    assert len(set(facts)) == len(facts)
    assert set(facts) <= set(world.facts.values())


def test_positions_of_every_segment_follow_the_context(tokenizer: Tokenizer) -> None:
    example = _make(tokenizer, STAGES, 2)
    assert example.positions[: example.shared] == list(range(example.shared))
    for number in range(1, 7):
        positions = [p for p, s in zip(example.positions, example.segments, strict=True) if s == number]
        assert positions == list(range(example.shared, example.shared + len(positions)))


@pytest.mark.parametrize("seed", range(20))
def test_pointers_look_back_at_what_they_may_see(tokenizer: Tokenizer, seed: int) -> None:
    example = _make(tokenizer, TASKS, seed)
    for pointer in example.pointers:
        assert pointer.column <= pointer.row
        assert example.segments[pointer.column] in (0, example.segments[pointer.row])


def test_copy_pointers_show_the_token_that_comes_next(tokenizer: Tokenizer) -> None:
    right = total = 0
    for seed in range(20):
        example = _make(tokenizer, TASKS, seed)
        for pointer in example.pointers:
            if pointer.purpose in (VALUE, MENTION) and example.targets[pointer.row] != -100:
                total += 1
                right += example.targets[pointer.row] == example.tokens[pointer.column]
    assert total > 500
    assert right == total


def test_every_token_but_the_first_points_to_the_one_before_it(tokenizer: Tokenizer) -> None:
    example = _make(tokenizer, STAGES, 3)
    rows = [pointer.row for pointer in example.pointers if pointer.purpose == PREVIOUS]
    assert sorted(rows) == list(range(1, len(example.tokens)))
