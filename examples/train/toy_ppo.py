"""Watch PPO learn: a random model is rewarded for naming token 9 in eight tokens; then for nothing at all.

    python examples/train/toy_ppo.py            half a minute a line; both shapes, both rewards

The first reward rises from about 0.1 to over 0.9 while the KL stays near its target; with a constant reward there is
nothing to learn, and nothing moves.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
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
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.ppo.trainer import Trainer
from lmcot_train.prompting import WrittenRationale
from lmcot_train.rewards.reward import Reward, RolledOut
from lmcot_train.rollouts.judge import Judge, RefineTask, RewardFunction
from lmcot_train.rollouts.policy import Policy

Shape = Literal["causal", "t5"]
VOCABULARY, END, WANTED = 64, 1, 9
RATES: dict[Shape, float] = {"causal": 3e-3, "t5": 1e-3}
_TARGETS = {
    "causal": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
    "t5": ["q", "v", "o", "wi", "wo"],
}
_SHOWN = ("reward", "kl", "kl_k3", "entropy", "clip_fraction", "explained_variance", "kl_coefficient")


def plain_model(shape: Shape, seed: int = 0) -> PreTrainedModel:
    """Make a model of random weights, whose outputs are far from uniform and far from certain."""
    torch.manual_seed(seed)
    if shape == "t5":
        return T5ForConditionalGeneration(
            T5Config(
                vocab_size=VOCABULARY, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, eos_token_id=END,
                pad_token_id=0, decoder_start_token_id=0, tie_word_embeddings=False, initializer_factor=0.5,
            )
        )  # fmt: skip
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, eos_token_id=END, bos_token_id=0, pad_token_id=0, max_position_embeddings=256,
            initializer_range=0.1,
        )
    )  # fmt: skip


def lora_model(shape: Shape, seed: int = 0) -> PeftModel:
    """Put an untrained adapter on such a model."""
    task = "SEQ_2_SEQ_LM" if shape == "t5" else "CAUSAL_LM"
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules=_TARGETS[shape], task_type=task)
    return get_peft_model(plain_model(shape, seed), adapter)


class NumberReader:
    """Reads tokens as their numbers, so that no tokenizer is needed."""

    end_ids = frozenset({END})

    def read(self, ids: Sequence[int]) -> WrittenRationale:
        """Return the numbers up to the end token."""
        ended = END in ids
        return WrittenRationale(" ".join(map(str, ids[: list(ids).index(END)] if ended else ids)), ended)


def worth(total: float) -> Reward:
    """Make a reward of which nothing but the total matters."""
    return Reward(total, total, {}, {}, None, 0.0)


def names_the_wanted_token(items: Sequence[RolledOut]) -> list[Reward]:
    """Reward 1 for a text that holds the wanted token."""
    return [worth(float(str(WANTED) in item.rationale.split())) for item in items]


def constant(items: Sequence[RolledOut]) -> list[Reward]:
    """Reward everything alike."""
    return [worth(1.0) for _ in items]


def toy_task(reward: RewardFunction = names_the_wanted_token, held_out: int = 0) -> RefineTask:
    """Return 64 random prompts of 5 to 19 tokens, to be rewarded by `reward`."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(5, 20, (64,), generator=generator).tolist()
    prompts = [torch.randint(2, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]
    rows = [Row(str(i), str(i), (), ("x",), None, None, i + 1) for i in range(64)]
    return RefineTask(
        rows[held_out:], rows[:held_out], lambda row: prompts[int(row.id)], NumberReader(), reward
    )


def train(shape: Shape, reward: RewardFunction, updates: int, seed: int, say: Callable[[str], None]) -> None:
    """Train one model, and say how it goes."""
    options = PPOOptions(
        updates=updates, max_tokens=8, policy_rate=RATES[shape], kl_target=6.0, validate_every=0, seed=seed
    )
    began = time.perf_counter()
    judge = Judge(Policy(lora_model(shape, seed)), toy_task(reward), options)
    for figures, _ in Trainer(judge).run():
        update = int(figures["update"])
        if update and (update == 1 or update % 20 == 0):
            shown = "  ".join(f"{name} {figures[name]:.3f}" for name in _SHOWN)
            say(f"  {time.perf_counter() - began:5.1f} s  update {update:3}  {shown}")


def main() -> None:
    """Train both shapes with both rewards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--updates", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for shape in RATES:
        for reward in (names_the_wanted_token, constant):
            print(f"{shape}, reward: {reward.__name__}")
            train(shape, reward, given.updates, given.seed, print)


if __name__ == "__main__":
    main()
