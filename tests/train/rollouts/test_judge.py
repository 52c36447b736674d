"""What PPO and GRPO hold in common: rationales are written, scored, rewarded and validated the same way for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from examples.train.toy_ppo import lora_model, names_the_wanted_token, toy_task, worth
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rewards.reward import Reward, RolledOut
from lmcot_train.rollouts.best_weights import BestWeights
from lmcot_train.rollouts.judge import Judge
from lmcot_train.rollouts.monitor import Monitor, RefineProgress
from lmcot_train.rollouts.policy import Policy

OPTIONS = PPOOptions(updates=4, max_tokens=6, validate_every=2, run_kl=5.0, minutes=1.0)


@pytest.fixture
def judge() -> Judge:
    return Judge(Policy(lora_model("causal")), toy_task(held_out=4), OPTIONS)


def test_the_seeds_of_samples_follow_from_the_names_of_rows(judge: Judge) -> None:
    rows = judge.task.rows[:2]
    first = judge.write(rows, ["a", "b"], 3)
    assert judge.write(rows[::-1], ["b", "a"], 3)[::-1] == first
    assert judge.write(rows, ["c", "b"], 3)[0] != first[0]
    assert judge.write(rows, ["c", "b"], 3)[1] == first[1]


def test_rewards_are_in_the_order_of_completions(judge: Judge) -> None:
    rows = judge.task.rows[:3]
    groups = judge.write(rows, ["a", "b", "c"], 2)
    judged = judge.reward(rows, judge.score(groups))
    assert [one.item.row for one in judged] == [row for row in rows for _ in range(2)]
    texts = [judge.task.reader.read(one).rationale for group in groups for one in group.completions]
    assert [one.item.rationale for one in judged] == texts
    assert [one.reward for one in judged] == names_the_wanted_token([one.item for one in judged])


def test_a_validation_is_greedy_and_without_dropout(judge: Judge) -> None:
    seen: list[RolledOut] = []

    def reward(items: Sequence[RolledOut]) -> list[Reward]:
        seen.extend(items)
        return [worth(float(i)) for i, _ in enumerate(items)]

    judge = replace(judge, task=replace(judge.task, reward=reward))
    judge.policy.train()  # as a trainer of transformers leaves it
    figures = judge.validate()
    assert figures["validation_reward"] == 1.5
    assert not judge.policy.training
    greedy = judge.write(judge.task.held_out, list("abcd"), 1, greedy=True)
    assert [one.rationale for one in seen] == [
        judge.task.reader.read(one.completions[0]).rationale for one in greedy
    ]


def test_the_monitor_validates_when_that_is_due_and_keeps_the_best(tmp_path: Path, judge: Judge) -> None:
    monitor = Monitor(judge, RefineProgress(0.1, update=1), BestWeights(tmp_path))
    assert "validation_reward" not in monitor.close_update({"kl": 0.0}, 6.0)
    monitor.progress = replace(monitor.progress, update=2)
    figures = monitor.close_update({"kl": 0.0}, 6.0)
    assert (monitor.progress.best, monitor.progress.best_update) == (figures["validation_reward"], 2)
    assert figures["minutes"] == 0.2
    assert BestWeights(tmp_path).path.is_file()
    BestWeights(tmp_path).path.unlink()  # by hand, since it was damaged
    assert Monitor(judge, monitor.progress, BestWeights(tmp_path)).progress.best is None


@pytest.mark.parametrize(
    ("kl", "seconds", "reason"),
    [
        (6.0, 1.0, "the KL to the reference ran away: 6.0 nats per rationale"),
        (0.0, 60.0, "the 1 minutes are over"),
    ],
)
def test_the_monitor_ends_a_run_with_a_validation(
    judge: Judge, kl: float, seconds: float, reason: str
) -> None:
    monitor = Monitor(judge, RefineProgress(0.1, update=1))
    assert monitor.continues
    assert "validation_reward" in monitor.close_update({"kl": kl}, seconds)
    assert monitor.stopped == reason
    assert not monitor.continues


def test_a_validation_that_calls_do_not_suffice_for_is_owed(judge: Judge) -> None:
    def spent(items: Sequence[RolledOut]) -> list[Reward]:
        raise LargeCallsSpentError("no calls left")

    monitor = Monitor(replace(judge, task=replace(judge.task, reward=spent)), RefineProgress(0.1))
    assert monitor.validated({"update": 0.0}) == {"update": 0.0}
    assert (monitor.stopped, monitor.owes_validation) == ("no calls left", True)
