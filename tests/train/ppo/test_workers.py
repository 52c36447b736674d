"""Two processes learn what one learns."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load_file

from lmcot_train.rollouts.workers import Workers

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.rollouts.policy import Policy
from lmcot_train.ppo.trainer import Trainer
from lmcot_train.rollouts.judge import Judge
from lmcot_train.rollouts.workers import Workers
from examples.train.toy_ppo import lora_model, names_the_wanted_token, toy_task

torch.set_num_threads(1)
workers = Workers.join()

def reward(items):
    assert workers.first
    return names_the_wanted_token(items)

options = PPOOptions(
    updates=2, max_tokens=6, batch=5, samples=2, minibatches=2, policy_rate=1e-3, warm_up=0, validate_every=2
)
folder = Path(sys.argv[1])
judge = Judge(Policy(lora_model("causal")), toy_task(reward, held_out=3), options, workers)
trainer = Trainer(judge, folder)
figures = list(trainer.run())[-1][0]
print(workers.count, round(figures["kl_k3"], 6), round(figures["validation_reward"], 6))
"""


def free_port() -> int:
    """Find a free port below those that systems hand out by themselves: nobody gets it before it is used."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def launch(folder: Path, processes: int) -> list[str]:
    """Run the script in processes that find each other as `accelerate launch` makes them; return what they print."""
    port, running = free_port(), []
    for rank in range(processes):
        place = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": processes,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        environment = (
            os.environ | {name: str(value) for name, value in place.items()} | {"OMP_NUM_THREADS": "1"}
        )
        paths = [str(ROOT / part) for part in (".", "train", "export")]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(folder)],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0] * processes
    return outputs


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """Five groups in two minibatches: shares of unlike size, one of them empty at times."""
    (alone,) = launch(tmp_path / "one", 1)
    first, second = launch(tmp_path / "two", 2)
    assert first == second == alone.replace("1 ", "2 ", 1)
    name = "update-000002/weights.safetensors"
    one, two = load_file(tmp_path / "one" / name), load_file(tmp_path / "two" / name)
    for key in one:
        torch.testing.assert_close(two[key], one[key], atol=2e-5, rtol=1e-3)


def test_shares_are_put_together_in_the_order_of_the_items() -> None:
    items = list(range(5))
    assert [Workers(rank, 2).share(items) for rank in range(2)] == [[0, 2, 4], [1, 3]]
    assert Workers().gather(items) == items
