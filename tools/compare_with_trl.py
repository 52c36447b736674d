"""Time one PPO update cycle (sample, reward, learn) of lmcot and of TRL 1.12's PPOTrainer, and measure peak memory.

TRL removed PPO in 1.13, so it needs an environment of its own:

    python -m venv trl && trl/bin/pip install 'trl==1.12.*' 'transformers==4.57.6' torch peft
    python tools/compare_with_trl.py --trl trl/bin/python

Both sides get the same random Llama, the same prompts, LoRA of the same rank on the same layers, as many samples,
epochs and minibatches, completions of exactly the same length, and a reward that costs next to nothing. TRL wants its
reward as a model (here of one layer, width 16) and a value model of its own; lmcot's value head sits on the policy.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

CLOCK = time.perf_counter
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RANK = 16


@dataclass(frozen=True)
class TimedCase:
    """A model and a batch."""

    name: str
    width: int
    feed_forward: int
    layers: int
    vocabulary: int
    prompts: int
    samples: int
    prompt_tokens: int
    tokens: int
    epochs: int = 2
    minibatches: int = 4


CASES = {
    case.name: case
    for case in (
        TimedCase("4M", 256, 512, 4, 2304, prompts=16, samples=4, prompt_tokens=400, tokens=64),
        TimedCase("4M-unshared", 256, 512, 4, 2304, prompts=64, samples=1, prompt_tokens=400, tokens=64),
        TimedCase("4M-small-batch", 256, 512, 4, 2304, prompts=4, samples=4, prompt_tokens=400, tokens=64),
        TimedCase("tiny", 64, 128, 2, 256, prompts=4, samples=2, prompt_tokens=16, tokens=8),
        TimedCase("34M", 512, 1408, 8, 8192, prompts=4, samples=4, prompt_tokens=256, tokens=64),
    )
}


def model_of(case: TimedCase) -> LlamaForCausalLM:
    """Make the random model of a case."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=case.vocabulary,
        hidden_size=case.width,
        intermediate_size=case.feed_forward,
        num_hidden_layers=case.layers,
        num_attention_heads=case.width // 64,
        max_position_embeddings=1024,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def prompts_of(case: TimedCase) -> list[list[int]]:
    """Make the random prompts of a case."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(2, case.vocabulary, (case.prompts, case.prompt_tokens), generator=generator).tolist()


def time_lmcot(case: TimedCase, updates: int) -> list[float]:
    """Return the seconds of each update by lmcot."""
    from peft import LoraConfig, get_peft_model

    from lmcot_cli.datasets.row import Row
    from lmcot_train.ppo.options import PPOOptions
    from lmcot_train.ppo.trainer import Trainer
    from lmcot_train.prompting import WrittenRationale
    from lmcot_train.rewards.reward import Reward, RolledOut
    from lmcot_train.rollouts.judge import Judge, RefineTask
    from lmcot_train.rollouts.policy import Policy

    class Endless:
        end_ids = frozenset[int]()

        def read(self, ids: object) -> WrittenRationale:
            return WrittenRationale("", finished=False)

    def reward(items: list[RolledOut]) -> list[Reward]:
        return [Reward(float(i % 2), 0.0, {}, {}, None, 0.0) for i, _ in enumerate(items)]

    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS, task_type="CAUSAL_LM")
    policy = Policy(get_peft_model(model_of(case), config))
    prompts = prompts_of(case)
    rows = [Row(str(i), "", (), ("x",), None, None, i) for i in range(case.prompts)]
    task = RefineTask(rows, [], lambda row: prompts[int(row.id)], Endless(), reward)  # type: ignore[arg-type]
    options = PPOOptions(
        updates=updates, batch=case.prompts, samples=case.samples, max_tokens=case.tokens, epochs=case.epochs,
        minibatches=case.minibatches, epoch_kl=1e9, validate_every=0,
    )  # fmt: skip
    seconds, last = [], CLOCK()
    for _, judged in Trainer(Judge(policy, task, options)).run():
        now = CLOCK()
        if judged:
            seconds.append(now - last)
        last = now
    return seconds


def time_trl(case: TimedCase, updates: int) -> list[float]:
    """Return the seconds of each update by TRL."""
    from datasets import Dataset
    from peft import LoraConfig
    from tokenizers import Tokenizer, models
    from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast, TrainerCallback
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    class Stopwatch(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.times.append(CLOCK())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.times.append(CLOCK())

    policy = model_of(case)
    same = {key: kept for key, kept in policy.config.to_dict().items() if key not in ("id2label", "label2id")}
    value = LlamaForSequenceClassification(LlamaConfig(**same, num_labels=1))
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    small = LlamaConfig(**{**same, **tiny, "num_key_value_heads": 1, "head_dim": 16}, num_labels=1)
    judge = LlamaForSequenceClassification(small)
    backend = Tokenizer(models.WordLevel({f"t{i}": i for i in range(case.vocabulary)}, unk_token="t0"))  # noqa: S106
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="t0", eos_token="t1")  # noqa: S106
    batch = case.prompts * case.samples
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        options = PPOConfig(
            output_dir=folder, per_device_train_batch_size=batch, num_mini_batches=case.minibatches,
            gradient_accumulation_steps=1, num_ppo_epochs=case.epochs, total_episodes=updates * batch,
            response_length=case.tokens, stop_token=None, local_rollout_forward_batch_size=16, temperature=1.0,
            num_sample_generations=0, report_to=[], save_strategy="no", bf16=False, use_cpu=True,
            gradient_checkpointing=False, learning_rate=1e-4, disable_tqdm=True, missing_eos_penalty=None,
        )  # fmt: skip
        rows = [prompt for prompt in prompts_of(case) for _ in range(case.samples)]
        data = Dataset.from_dict({"input_ids": rows})
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS, task_type="CAUSAL_LM")
        trainer = PPOTrainer(
            options, tokenizer, policy, None, judge, data, value, peft_config=config, callbacks=[stopwatch],
            eval_dataset=data.select(range(1)),
        )  # fmt: skip
        trainer.train()
    return [after - before for before, after in zip(stopwatch.times, stopwatch.times[1:], strict=False)]


def measure(side: str, case: TimedCase, updates: int) -> None:
    """Run one side in this process; print the best time of an update after the first, and the peak of its memory."""
    seconds = (time_lmcot if side == "lmcot" else time_trl)(case, updates)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": min(seconds[1:]), "all": seconds, "peak_mib": peak}))


def run_side(side: str, case: TimedCase, python: str, given: argparse.Namespace) -> dict[str, Any]:
    """Time one side in a process of its own, by the Python that has its packages."""
    command = [python, __file__, "--side", side, "--case", case.name, "--updates", str(given.updates)]
    command += ["--threads", str(given.threads), *(["--cpu"] if given.cpu else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)  # noqa: S603
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Time both sides in turn, and print how they compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trl", default=sys.executable, help="python of the environment with TRL 1.12")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--side", choices=["lmcot", "trl"])
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--cpu", action="store_true", help="count CPU time, where the machine has other work too"
    )
    given = parser.parse_args()
    global CLOCK
    CLOCK = time.process_time if given.cpu else time.perf_counter
    torch.set_num_threads(given.threads)
    cases = [CASES[name] for name in given.case or CASES]
    if given.side:
        measure(given.side, cases[0], given.updates)
        return
    for case in cases:
        ours = run_side("lmcot", case, sys.executable, given)
        theirs = run_side("trl", case, given.trl, given)
        tokens = case.prompts * case.samples * case.tokens
        print(json.dumps(asdict(case)))
        for name, found in (("lmcot", ours), ("TRL 1.12", theirs)):
            rate, peak = tokens / found["seconds"], found["peak_mib"]
            print(
                f"  {name:9} {found['seconds']:7.2f} s an update  {rate:7.1f} tokens/s  peak {peak:6.0f} MiB"
            )
        rate, memory = theirs["seconds"] / ours["seconds"], ours["peak_mib"] / theirs["peak_mib"]
        print(f"  lmcot is {rate:.2f} times as fast and takes {memory:.2f} times the memory")


if __name__ == "__main__":
    main()
