"""Watch PPO learn: a random model is rewarded for naming token 9 in eight tokens; then for nothing at all.

    python examples/train/toy_ppo.py            a minute on two cores; both shapes, both rewards

The first reward rises from about 0.1 to over 0.9 while the KL stays near its target; with a constant reward there is
nothing to learn, and nothing moves.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from lmcot_cli.datasets.row import Row
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.ppo.policy import Policy
from lmcot_train.ppo.trainer import Task, Trainer
from lmcot_train.rewards.reward import Reward, RolledOut

VOCABULARY, END, WANTED = 64, 1, 9


@dataclass(frozen=True)
class Numbers:
    rationale: str
    finished: bool


class NumberReader:
    """Reads tokens as their numbers: the toy needs no tokenizer."""

    end_ids = frozenset({END})

    def read(self, ids: Sequence[int]) -> Numbers:
        ended = END in ids
        return Numbers(" ".join(map(str, ids[: list(ids).index(END)] if ended else ids)), ended)


def causal() -> PeftModel:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, eos_token_id=END, bos_token_id=0, pad_token_id=0, initializer_range=0.1,
    )  # fmt: skip
    layers = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules=layers, task_type="CAUSAL_LM")
    return get_peft_model(LlamaForCausalLM(config), adapter)


def t5() -> PeftModel:
    config = T5Config(
        vocab_size=VOCABULARY, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, eos_token_id=END,
        pad_token_id=0, decoder_start_token_id=0, tie_word_embeddings=False, initializer_factor=0.5,
    )  # fmt: skip
    adapter = LoraConfig(
        r=8, lora_alpha=16, target_modules=["q", "v", "o", "wi", "wo"], task_type="SEQ_2_SEQ_LM"
    )
    return get_peft_model(T5ForConditionalGeneration(config), adapter)


def worth(total: float) -> Reward:
    return Reward(total, total, {}, {}, None, 0.0)


def wanted(items: Sequence[RolledOut]) -> list[Reward]:
    return [worth(float(str(WANTED) in item.rationale.split())) for item in items]


def constant(items: Sequence[RolledOut]) -> list[Reward]:
    return [worth(1.0) for _ in items]


def train(
    model: PeftModel,
    reward: Callable[[Sequence[RolledOut]], list[Reward]],
    rate: float,
    updates: int,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(5, 20, (64,), generator=generator).tolist()
    prompts = [torch.randint(2, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]
    rows = [Row(str(i), str(i), (), ("x",), None, None, i + 1) for i in range(64)]
    task = Task(rows, [], lambda row: prompts[int(row.id)], NumberReader(), reward)
    options = PPOOptions(
        updates=updates, max_tokens=8, policy_rate=rate, kl_target=6.0, validate_every=0, seed=seed
    )
    began = time.perf_counter()
    for figures, _ in Trainer(Policy(model), task, options).run():
        update = int(figures["update"])
        if update and (update == 1 or update % 20 == 0):
            named = (
                "reward",
                "kl",
                "kl_k3",
                "entropy",
                "clip_fraction",
                "explained_variance",
                "kl_coefficient",
            )
            print(
                f"  {time.perf_counter() - began:5.1f} s  update {update:3}",
                *(f"{name} {figures[name]:.3f}" for name in named),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for name, build, rate in (("decoder-only", causal, 3e-3), ("T5", t5, 1e-3)):
        for reward in (wanted, constant):
            print(f"{name}, reward: {reward.__name__}")
            torch.manual_seed(given.seed)
            train(build(), reward, rate, given.updates, given.seed)


if __name__ == "__main__":
    main()
