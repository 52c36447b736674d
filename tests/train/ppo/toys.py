"""Tiny real models of both shapes, and a task that needs no language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from lmcot_cli.datasets.row import Row
from lmcot_train.ppo.trainer import Task
from lmcot_train.rewards.reward import Reward, RolledOut

Shape = Literal["causal", "t5"]
VOCABULARY, END, WANTED = 64, 1, 9
_TARGETS = {
    "causal": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
    "t5": ["q", "v", "o", "wi", "wo"],
}


def plain_model(shape: Shape) -> PreTrainedModel:
    """Make a model of random weights, whose outputs are far from uniform and far from certain."""
    torch.manual_seed(0)
    if shape == "t5":
        config = T5Config(
            vocab_size=VOCABULARY,
            d_model=64,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            eos_token_id=END,
            pad_token_id=0,
            decoder_start_token_id=0,
            tie_word_embeddings=False,
            initializer_factor=0.5,
        )
        return T5ForConditionalGeneration(config)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            eos_token_id=END,
            bos_token_id=0,
            pad_token_id=0,
            max_position_embeddings=256,
            initializer_range=0.1,
        )
    )


def lora_model(shape: Shape) -> PeftModel:
    """Put an untrained adapter on such a model."""
    task = "SEQ_2_SEQ_LM" if shape == "t5" else "CAUSAL_LM"
    return get_peft_model(
        plain_model(shape), LoraConfig(r=8, lora_alpha=16, target_modules=_TARGETS[shape], task_type=task)
    )


@dataclass(frozen=True)
class Numbers:
    """A text of token numbers."""

    rationale: str
    finished: bool


class NumberReader:
    """Reads tokens as their numbers, so that no tokenizer is needed."""

    end_ids = frozenset({END})

    def read(self, ids: Sequence[int]) -> Numbers:
        """Return the numbers up to the end token."""
        ended = END in ids
        return Numbers(" ".join(map(str, ids[: list(ids).index(END)] if ended else ids)), ended)


def names_the_wanted_token(items: Sequence[RolledOut]) -> list[Reward]:
    """Reward 1 for a text that holds the wanted token."""
    return [worth(float(str(WANTED) in item.rationale.split())) for item in items]


def worth(total: float) -> Reward:
    """Make a reward of which nothing but the total matters."""
    return Reward(total, total, {}, {}, None, 0.0)


def toy_task(
    reward: Callable[[Sequence[RolledOut]], list[Reward]] = names_the_wanted_token, held_out: int = 0
) -> Task:
    """Return 64 random prompts of 5 to 19 tokens, to be rewarded by `reward`."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(5, 20, (64,), generator=generator).tolist()
    prompts = [torch.randint(2, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]
    rows = [Row(str(i), str(i), (), ("x",), None, None, i + 1) for i in range(64)]
    return Task(rows[held_out:], rows[:held_out], lambda row: prompts[int(row.id)], NumberReader(), reward)
