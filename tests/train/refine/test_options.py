"""Settings of refining that cannot work are refused, and named as they were typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.errors import UsageError
from lmcot_cli.settings.declaration import build
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.refine.options import RefineOptions
from lmcot_train.rewards.options import RewardOptions


def options(**changes: Any) -> RefineOptions:
    return RefineOptions(Path("q"), Path("s"), Path("o"), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"batch": 5, "samples": 3, "minibatches": 2},
            "--minibatches 2: give a number that divides the 15 rat",
        ),
        ({"samples": 1}, "--samples 1: give 2 or more with --algorithm grpo"),
        ({"epochs": 3}, "does not use --epochs: omit them, or take --algorithm ppo"),
        (
            {"trace": 0.9, "leave_one_out": True, "kl_target": 2.0},
            "does not use --gae-lambda, --leave-one-out, --kl-target",
        ),
        (
            {"value_rate": 0.1, "value_weight": 0.2, "entropy_weight": 0.1},
            "does not use --value-rate, --value-weight, --entropy-weight",
        ),
    ],
)
def test_grpo_refuses_what_it_would_pass_over_or_cannot_cut_up(changes: dict[str, Any], message: str) -> None:
    ppo = PPOOptions(**changes)
    with pytest.raises(UsageError, match=message):
        options(algorithm="grpo", ppo=ppo).check()
    options(ppo=ppo).check()


def test_the_defaults_suit_both_algorithms() -> None:
    options().check()
    options(algorithm="grpo").check()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["task_weight", "aspects_weight", "loop_penalty", "unfinished_penalty", "unsupported_penalty"]
)
def test_weights_of_the_reward_are_finite(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} {value:g}: give a finite number"):
        options(reward=RewardOptions(**{name: value})).check()  # type: ignore[arg-type]


HUGE = 99999999999999999999999


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": HUGE}, f"--samples {HUGE}: give less: --batch times --samples is at most 1000000"),
        ({"batch": 1_000_000}, "--batch 1000000: give less: --batch times --samples is at most 1000000"),
        ({"max_tokens": 10**400}, "--max-tokens 1000.*: give a number from 1 to 1,000,000"),
        ({"validate_every": -1}, "--validate-every -1: give 0 or more"),
        ({"seed": -1}, "--seed -1: give a number from 0 to 4,294,967,295"),
        ({"seed": 2**64}, "--seed 18446744073709551616: give a number from 0 to 4,294,967,295"),
        ({"updates": -HUGE}, f"--updates -{HUGE}: give 1 or more"),
    ],
)
def test_numbers_of_ppo_have_a_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options(ppo=PPOOptions(**changes)).check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": -1}, "--limit -1: give a number from 1 to"),
        ({"limit": 0}, "--limit 0: give a number from 1 to"),
        ({"limit": HUGE}, f"--limit {HUGE}: give a number from 1 to"),
        ({"lora_rank": HUGE}, f"--lora-rank {HUGE}: give a number from 1 to 65,536"),
        ({"reward": RewardOptions(max_large_calls=-1)}, "--max-large-calls -1: give 0 or more"),
    ],
)
def test_numbers_of_the_run_have_a_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options(**changes).check()


def test_fields_are_noted_where_given() -> None:
    assert "fields" not in options().settings()
    assert options(rows=build(RowOptions, {"fields": "answer=gold"})).settings()["fields"] == "answer=gold"
