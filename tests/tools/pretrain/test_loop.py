import json
import math
from itertools import count
from pathlib import Path
from random import Random

import pytest
import torch
from tokenizers import Tokenizer

from tools.pretrain.examples import (
    COPY_LAYER,
    POINTER_HEADS,
    PREVIOUS,
    Difficulty,
    ExampleMaker,
    Pointer,
    PretrainExample,
)
from tools.pretrain.loop import LoopOptions, collate, guide_loss, train
from tools.pretrain.model import Llama, LlamaShape
from tools.pretrain.run import STAGES, ProgressLines
from tools.pretrain.tokenizer import train_tokenizer

SHAPE = {"width": 32, "layers": 3, "heads": 2, "feed_forward": 64}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(
        ["Answer the question from the context.\n\nContext:\nQuestion: Who? Rationale:"] * 3, 300
    )


def _example(segments: list[int], shared: int) -> PretrainExample:
    count = len(segments)
    every_head = [Pointer(purpose, 1, 0, 1.0) for purpose in POINTER_HEADS]
    return PretrainExample(
        shared, list(range(count)), list(range(count)), segments, [-100] * count, every_head
    )


def test_the_mask_hides_later_tokens_other_segments_and_padding() -> None:
    batch = collate([_example([0, 0, 1, 1, 2], 2), _example([0, 0, 1], 2)])
    assert batch.mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert batch.mask[1, 0].int().tolist()[2] == [1, 1, 1, 0, 0]
    assert batch.targets[1].tolist() == [-100] * 5


def test_a_batch_may_have_nothing_to_copy() -> None:
    example = _example([0, 0, 1], 2)
    example.pointers = [pointer for pointer in example.pointers if pointer.purpose == PREVIOUS]
    assert set(collate([example]).pointers) == {PREVIOUS}


def test_guide_loss_is_the_cross_entropy_of_the_guided_heads_attention() -> None:
    # Two tokens, head width 1: the score of column j for row 1 is q1 * kj, so with q1 = 1, k0 = ln 3, k1 = 0 the
    # attention is [3/4, 1/4], and a pointer to column 0 costs -ln(3/4); the heads add up.
    batch = collate([_example([0, 0], 2)])
    heads = 1 + max(head for _, head in POINTER_HEADS.values())
    queries = torch.ones(1, heads, 2, 1)
    keys = torch.tensor([3.0, 1.0]).log().view(1, 1, 2, 1).expand(1, heads, 2, 1)
    seen = [(queries, keys)] * (1 + max(layer for layer, _ in POINTER_HEADS.values()))
    assert guide_loss(batch, seen).item() == pytest.approx(-len(POINTER_HEADS) * math.log(0.75), abs=1e-6)


def test_a_segment_computes_what_it_would_compute_alone(tokenizer: Tokenizer) -> None:
    """The shared context is an economy, not another model."""
    torch.manual_seed(0)
    model = Llama(LlamaShape(tokenizer.get_vocab_size(), **SHAPE), 2)
    example = ExampleMaker(tokenizer, STAGES, Random(1)).make(Difficulty(distractors=1, questions=3))
    batch = collate([example])
    hidden, _ = model(batch.tokens, batch.positions, batch.mask)
    mine = [i for i, segment in enumerate(example.segments) if segment in (0, 2)]
    alone = torch.tensor([[example.tokens[i] for i in mine]])
    length = len(mine)
    causal = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
    expected, _ = model(alone, torch.arange(length)[None], causal)
    torch.testing.assert_close(hidden[0, mine], expected[0], atol=1e-5, rtol=1e-4)


def test_training_changes_every_parameter_and_lowers_the_loss(tokenizer: Tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Llama(LlamaShape(tokenizer.get_vocab_size(), **SHAPE), 2)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    options = LoopOptions(STAGES, minutes=1, contexts=1, questions=2, distractors=0, log_every=10)
    seconds = map(float, count())  # a clock by which every step takes a second
    records = list(train(model, tokenizer, options, tmp_path / "metrics.jsonl", seconds.__next__))
    assert [record["step"] for record in records] == [10, 20, 30, 40, 50]
    assert all(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert records[-1]["loss"] < records[0]["loss"]
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert logged[0]["seed"] == 0
    assert logged[1:] == records


def test_progress_is_told_at_once_then_every_ten_seconds_and_with_every_record() -> None:
    lines: list[str] = []
    now = 100.0
    progress = ProgressLines(lines.append, 2.0, clock=lambda: now)
    record = {"step": 50, "minutes": 0.4, "loss": 1.0, "value_accuracy": 0.5, "mention_accuracy": 0.25}

    for step in range(1, 50):  # a step takes a second
        progress.step(step, step / 120, 2.0)
        now += 1
    progress.record(record)

    assert [line.split("step ")[1].split()[0] for line in lines] == ["1", "11", "21", "31", "41", "50"]
    assert lines[1] == "  0.09 of 2 CPU min  step 11  loss 2.000"
    assert lines[-1].endswith("loss 1.000  values 0.500  mentions 0.250")


def test_every_guided_head_exists_in_both_models() -> None:
    from tools.pretrain.run import RECIPES

    for recipe in RECIPES.values():
        assert all(layer < recipe.layers for layer, _ in POINTER_HEADS.values())
    assert COPY_LAYER > 1  # what is copied is found by what the layers before have gathered
