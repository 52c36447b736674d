"""From rows to batches: nothing of the prompt is learned, questions stay together, batches are alike in length."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError
from lmcot_train.distill.data import SimilarLengths, read_rationales, split, tokenize
from lmcot_train.prompting import RationalePrompts

Rows = Callable[..., list[Row]]
Base = Callable[..., Path]


def test_only_the_rationale_is_learned(tiny_base: Base, microhop: Rows) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base())
    rows = microhop(3)
    prompts = RationalePrompts(tokenizer, encoder_decoder=False)
    dataset, left_out = tokenize(rows, prompts, None, encoder=False)
    assert left_out == 0
    for row, example in zip(rows, dataset, strict=True):
        learned = [label for label in example["labels"] if label != -100]
        assert tokenizer.decode(learned) == f" {row.rationale}</s>"
        assert example["labels"][-len(learned) :] == learned
        assert example["input_ids"][-len(learned) :] == learned
        assert len(example["input_ids"]) == len(example["labels"])


def test_an_encoder_decoder_learns_the_rationale_from_the_prompt(tiny_base: Base, microhop: Rows) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base("t5"))
    (row,) = microhop(1)
    dataset, _ = tokenize([row], RationalePrompts(tokenizer, encoder_decoder=True), None, encoder=True)
    assert tokenizer.decode(dataset[0]["input_ids"]).endswith("Rationale:</s>")
    assert tokenizer.decode(dataset[0]["labels"]) == f"{row.rationale}</s>"


def test_rows_that_take_too_many_tokens_are_left_out_and_counted(tiny_base: Base, microhop: Rows) -> None:
    prompts = RationalePrompts(AutoTokenizer.from_pretrained(tiny_base()), encoder_decoder=False)
    rows = microhop(8)
    lengths = sorted(
        len(e.prompt) + len(e.completion) for e in (prompts.example(r, r.rationale or "") for r in rows)
    )
    dataset, left_out = tokenize(rows, prompts, lengths[5], encoder=False)
    kept = sum(length <= lengths[5] for length in lengths)
    assert (len(dataset), left_out) == (kept, 8 - kept)
    assert left_out


def test_the_samples_of_a_question_stay_on_one_side(microhop: Rows) -> None:
    rows = microhop(20)
    twice = [*rows, *(replace(row, id=f"{row.id}#2", rationale="Another one.") for row in rows)]
    train, validation = split(twice, 0.2, seed=0)
    assert not {row.question for row in train} & {row.question for row in validation}
    assert len(validation) == 2 * round(0.2 * len({row.question for row in rows}))
    assert len(train) + len(validation) == 40


def test_the_split_does_not_depend_on_the_order_but_on_the_seed(microhop: Rows) -> None:
    rows = microhop(30)
    _, one = split(rows, 0.2, seed=0)
    _, again = split(rows[::-1], 0.2, seed=0)
    _, other = split(rows, 0.2, seed=1)
    assert {row.id for row in one} == {row.id for row in again}
    assert {row.id for row in one} != {row.id for row in other}


def test_one_question_cannot_be_split(microhop: Rows) -> None:
    with pytest.raises(InputError, match="--validation-share 0"):
        split(microhop(1), 0.1, seed=0)
    train, validation = split(microhop(1), 0, seed=0)
    assert (len(train), len(validation)) == (1, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (json.dumps({"question": "Who?", "context": []}), "none of its 1 rows has a rationale"),
        ('{"question": 7, "context": []}', ':1: "question" must be a string'),
    ],
)
def test_a_file_without_a_usable_rationale_says_what_to_do(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "rationales.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_rationales(path)


def test_batches_are_of_similar_length_and_each_epoch_has_its_own() -> None:
    lengths = [10 + (37 * i) % 200 for i in range(100)]
    sampler = SimilarLengths(lengths, batch_size=8, seed=0)
    first = list(sampler)
    assert len(first) == len(sampler) == 96
    assert len(set(first)) == 96
    spreads = [
        max(lengths[i] for i in first[at : at + 8]) - min(lengths[i] for i in first[at : at + 8])
        for at in range(0, 96, 8)
    ]
    assert max(spreads) < 60
    starts = [lengths[first[at]] for at in range(0, 96, 8)]
    assert starts != sorted(starts)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_fewer_rows_than_a_batch_make_one() -> None:
    assert sorted(SimilarLengths([3, 1, 2], batch_size=8, seed=0)) == [0, 1, 2]
