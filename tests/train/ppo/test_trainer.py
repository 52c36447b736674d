"""The loop: it learns, it drifts nowhere without cause, it is held back, and it goes on exactly where it was."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from examples.train.toy_ppo import (
    Shape,
    lora_model,
    names_the_wanted_token,
    plain_model,
    toy_task,
    worth,
)
from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.settings.declaration import declared
from lmcot_train.ppo.learner import rate_share
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.ppo.trainer import Trainer
from lmcot_train.rewards.large_answers import LargeCallsSpentError
from lmcot_train.rewards.reward import Reward, RolledOut
from lmcot_train.rollouts.best_weights import BestWeights
from lmcot_train.rollouts.judge import Judge
from lmcot_train.rollouts.policy import Policy

TOY = PPOOptions(
    updates=4, max_tokens=8, validate_every=0, policy_rate=3e-3, kl_target=6.0, batch=8, minibatches=2,
    save_every=2,
)  # fmt: skip
TIMES = ("minutes", "seconds_sampling", "seconds_scoring", "seconds_reward", "seconds_learning")


def figures_of(trainer: Trainer) -> list[dict[str, float]]:
    """Run to the end; return the figures without the times."""
    return [
        {k: v for k, v in figures.items() if k not in TIMES}
        for figures, _ in trainer.run()
        if figures["update"]
    ]


def constant(items: Sequence[RolledOut]) -> list[Reward]:
    return [worth(1.0) for _ in items]


def test_it_learns_to_name_a_token(shape: Shape) -> None:
    """A short run of the toy task; examples/train/toy.py runs it to the end."""
    options = replace(
        TOY, updates=30, batch=16, minibatches=4, policy_rate=3e-3 if shape == "causal" else 1e-3
    )
    records = figures_of(Trainer(Judge(Policy(lora_model(shape)), toy_task(), options)))
    first, last = records[0], records[-3:]
    assert first["reward"] < 0.2
    assert sum(record["reward"] for record in last) / 3 > 0.6
    assert max(record["kl"] for record in records) < 20
    assert first["kl_k3"] < 1e-4  # the policy begins as its own reference
    assert first["clip_fraction"] < 0.2


def test_only_what_is_to_learn_changes(shape: Shape) -> None:
    policy = Policy(lora_model(shape))
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    figures_of(Trainer(Judge(policy, toy_task(), TOY)))
    changed = {name for name, p in policy.named_parameters() if not torch.equal(p, before[name])}
    learning = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert changed == learning
    assert len(changed) > 10


def test_without_lora_all_weights_learn_and_the_reference_stays() -> None:
    policy = Policy(plain_model("causal"))
    start = policy.network.model.lm_head.weight.detach().clone()
    records = figures_of(Trainer(Judge(policy, toy_task(), replace(TOY, policy_rate=1e-3))))
    assert not torch.equal(policy.network.model.lm_head.weight, start)
    with policy.as_reference():
        assert torch.equal(policy.network.model.lm_head.weight, start)
    assert records[0]["kl_k3"] < 1e-4 < 1e-2 < records[-1]["kl_k3"]


def test_a_constant_reward_moves_nothing(shape: Shape) -> None:
    """With nothing to learn the KL, which is 0 at first, stays there."""
    records = figures_of(Trainer(Judge(Policy(lora_model(shape)), toy_task(constant), TOY)))
    assert max(record["kl_k3"] for record in records) < 1e-4
    assert max(record["gradient_norm"] for record in records) < 1e-3


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_run_goes_on_exactly(tmp_path: Path, shape: Shape, killed_after: int) -> None:
    """Saved every 2 updates: what came after the last checkpoint is made again, with the same losses."""
    task = toy_task(held_out=8)
    options = replace(TOY, validate_every=1)
    whole = Trainer(Judge(Policy(lora_model(shape)), task, options), tmp_path / "whole")
    expected = figures_of(whole)
    killed = Trainer(Judge(Policy(lora_model(shape)), task, options), tmp_path / "killed")
    for figures, _ in killed.run():
        if figures["update"] == killed_after + 1:  # the generator saves when it is asked for the next update
            break
    resumed = Trainer(Judge(Policy(lora_model(shape)), task, options), tmp_path / "killed")
    began = resumed.monitor.progress.update
    assert began == killed_after // 2 * 2
    assert figures_of(resumed) == expected[began:]
    assert replace(resumed.monitor.progress, seconds=0) == replace(whole.monitor.progress, seconds=0)
    for name in ("weights", "optimizer"):
        ends = [
            load_file(tmp_path / run / f"update-000004/{name}.safetensors") for run in ("whole", "killed")
        ]
        assert ends[0].keys() == ends[1].keys()
        assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_the_weights_that_validate_best_are_kept(tmp_path: Path) -> None:
    """The reward of what is held out falls from the second validation on: those of the first one are kept."""
    worths = count(0, -1)

    def falling(items: Sequence[RolledOut]) -> list[Reward]:
        validation = {item.row.id for item in items} <= {"0", "1", "2", "3"}
        value = float(next(worths)) if validation else 0.0
        return names_the_wanted_token(items) if not validation else [worth(value) for _ in items]

    policy = Policy(lora_model("causal"))
    start = {name: p.detach().clone() for name, p in policy.weights.items()}
    trainer = Trainer(Judge(policy, toy_task(falling, held_out=4), replace(TOY, validate_every=2)), tmp_path)
    figures_of(trainer)
    assert (trainer.monitor.progress.best, trainer.monitor.progress.best_update) == (0.0, 0)
    assert any(not torch.equal(p, start[name]) for name, p in policy.weights.items())
    BestWeights(tmp_path).load(policy)
    assert all(torch.equal(p, start[name]) for name, p in policy.weights.items())


def test_a_policy_that_runs_away_is_stopped() -> None:
    options = replace(
        TOY, updates=30, policy_rate=3e-2, kl_target=0.1, run_kl=1.0, kl_coefficient=0.0, epoch_kl=9e9
    )
    trainer = Trainer(Judge(Policy(lora_model("causal")), toy_task(), options))
    records = figures_of(trainer)
    assert len(records) < 30
    assert records[-1]["kl"] > 1.0
    assert trainer.monitor.stopped is not None and "ran away" in trainer.monitor.stopped


def test_an_update_ends_early_when_it_moves_too_far() -> None:
    options = replace(TOY, policy_rate=3e-2, epochs=8, epoch_kl=0.01)
    records = figures_of(Trainer(Judge(Policy(lora_model("causal")), toy_task(), options)))
    assert min(record["epochs"] for record in records) < 8


def test_time_is_counted_over_sessions(tmp_path: Path) -> None:
    """By a clock that ticks once a call; a limit that is reached ends the run, also when it is run again."""
    options = replace(TOY, updates=100, minutes=0.5)
    ticks = map(float, count())
    trainer = Trainer(
        Judge(Policy(lora_model("causal")), toy_task(), options), tmp_path, clock=ticks.__next__
    )
    made = len(figures_of(trainer))
    assert 1 <= made < 100
    assert trainer.monitor.stopped == "the 0.5 minutes are over"
    again = Trainer(Judge(Policy(lora_model("causal")), toy_task(), options), tmp_path, clock=ticks.__next__)
    assert figures_of(again) == []
    assert again.monitor.progress.update == made


@pytest.mark.parametrize("error", [LargeCallsSpentError("no calls left"), ModelError("the server is gone")])
def test_what_was_learned_is_kept_when_the_large_model_ends_it(tmp_path: Path, error: Exception) -> None:
    calls = count()

    def fails_in_the_fourth(items: Sequence[RolledOut]) -> list[Reward]:
        if next(calls) == 3:
            raise error
        return names_the_wanted_token(items)

    judge = Judge(Policy(lora_model("causal")), toy_task(fails_in_the_fourth), replace(TOY, save_every=100))
    trainer = Trainer(judge, tmp_path)
    if isinstance(error, LargeCallsSpentError):
        figures_of(trainer)
        assert trainer.monitor.stopped == "no calls left"
    else:
        with pytest.raises(ModelError, match="the server is gone"):
            figures_of(trainer)
    again = Trainer(Judge(Policy(lora_model("causal")), toy_task(), TOY), tmp_path)
    assert again.monitor.progress.update == 3


@pytest.mark.parametrize("error", [LargeCallsSpentError("no calls left"), ModelError("the server is gone")])
@pytest.mark.parametrize(("update", "began"), [(0, 0), (1, 0), (2, 0), (3, 2)])
def test_a_validation_that_failed_is_made_when_the_run_goes_on(
    tmp_path: Path, error: Exception, update: int, began: int
) -> None:
    """Rewards are asked for by the validation at first, then by each update and the validation after it."""
    options = replace(TOY, validate_every=1)
    whole = Trainer(Judge(Policy(lora_model("causal")), toy_task(held_out=8), options), tmp_path / "whole")
    expected = figures_of(whole)
    calls = count()

    def fails(items: Sequence[RolledOut]) -> list[Reward]:
        if next(calls) == 2 * update:
            raise error
        return names_the_wanted_token(items)

    failing = Trainer(
        Judge(Policy(lora_model("causal")), toy_task(fails, held_out=8), options), tmp_path / "failed"
    )
    with nullcontext() if isinstance(error, LargeCallsSpentError) else pytest.raises(ModelError):
        figures_of(failing)
    again = Trainer(Judge(Policy(lora_model("causal")), toy_task(held_out=8), options), tmp_path / "failed")
    assert again.monitor.progress.update == began
    assert figures_of(again) == expected[began:]
    assert replace(again.monitor.progress, seconds=0) == replace(whole.monitor.progress, seconds=0)


def test_learning_rates_fall_over_the_last_updates() -> None:
    # Six updates, the last half of them falling: 3 of 4, 2 of 4 and 1 of 4 of the full rate.
    options = PPOOptions(updates=6, warm_up=1, decay=0.5)
    assert [rate_share(update, options) for update in range(6)] == [0.5, 1, 1, 0.75, 0.5, 0.25]


def test_learning_rates_warm_up() -> None:
    trainer = Trainer(Judge(Policy(lora_model("causal")), toy_task(), replace(TOY, warm_up=3, updates=6)))
    seen = []
    for figures, _ in trainer.run():
        if figures["update"]:
            seen.append([group["lr"] for group in trainer.learner.optimizer.param_groups])
    torch.testing.assert_close(
        [policy for policy, _ in seen], [3e-3 * share for share in (0.25, 0.5, 0.75, 1, 1, 1)]
    )
    assert seen[-1][1] == 1e-3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"updates": 0, "clip": 0.0}, r"^--updates 0: give 1 or more; --clip 0: give a number above 0"),
        (
            {"trace": 1.5, "policy_rate": 0.0},
            r"^--learning-rate 0: .*; --gae-lambda 1\.5: give a number from 0 to 1",
        ),
        ({"batch": 2, "minibatches": 4}, r"^--minibatches 4: give at most --batch \(2\)"),
        ({"run_kl": 2.0}, r"^--run-kl 2: give more than --kl-target \(3\)"),
        ({"minutes": 0.0}, r"^--minutes 0: give a number above 0"),
        ({"discount": 2.0}, r"^discount 2: give a number from 0 to 1"),
    ],
)
def test_settings_that_cannot_work_are_all_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PPOOptions(**wrong).check()


NUMBERS = [field.name for field in fields(PPOOptions) if "float" in str(field.type)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_finite(name: str, value: float) -> None:
    option = next(one.option for one in declared(PPOOptions).values() if one.field == name)
    with pytest.raises(UsageError, match=f"^{option} {value:g}: give a finite number$"):
        PPOOptions(**{name: value}).check()  # type: ignore[arg-type]


def test_every_pass_over_the_rows_has_an_order_of_its_own() -> None:
    """64 rows in batches of 24: the third update takes the last 16 of one order and the first 8 of the next."""
    trainer = Trainer(Judge(Policy(lora_model("causal")), toy_task(), replace(TOY, batch=24)))
    ids = [row.id for update in range(8) for row in trainer._rows(update)]
    passes = [ids[start : start + 64] for start in range(0, 192, 64)]
    assert all(sorted(one, key=int) == [str(i) for i in range(64)] for one in passes)
    assert len({tuple(one) for one in passes}) == 3
