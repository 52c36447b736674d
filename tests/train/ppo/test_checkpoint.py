"""Checkpoints are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from examples.train.toy_ppo import lora_model
from lmcot_cli.errors import InputError, OutputError
from lmcot_train.ppo import checkpoint
from lmcot_train.ppo.checkpoint import Checkpoints
from lmcot_train.ppo.learner import Learner
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.rollouts.best_weights import BestWeights
from lmcot_train.rollouts.monitor import RefineProgress
from lmcot_train.rollouts.policy import Policy
from lmcot_train.rollouts.workers import Workers


def learner_of(seed: int = 0) -> Learner:
    policy = Policy(lora_model("causal"))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.weights.values():
            parameter.normal_()
    return Learner.create(policy, PPOOptions(), Workers())


def test_only_the_newest_state_is_kept_and_restored(tmp_path: Path) -> None:
    checkpoints, learner = Checkpoints(tmp_path), learner_of(1)
    for update in (5, 10):
        checkpoints.save(learner, RefineProgress(0.1, update, 60.0, 0.5, 5))
    assert [path.name for path in tmp_path.iterdir()] == ["update-000010"]
    other = learner_of(2)
    assert checkpoints.restore(other) == RefineProgress(0.1, 10, 60.0, 0.5, 5)
    pairs = zip(learner.policy.weights.values(), other.policy.weights.values(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_where_nothing_was_kept_nothing_is_restored(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").restore(learner_of()) is None


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, learner = Checkpoints(tmp_path), learner_of()
    checkpoints.save(learner, RefineProgress(0.1, 5))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OutputError, match="No space left on device; the checkpoints so far are kept"):
        checkpoints.save(learner, RefineProgress(0.1, 10))
    assert [path.name for path in tmp_path.iterdir()] == ["update-000005"]
    restored = checkpoints.restore(learner)
    assert restored is not None and restored.update == 5


def test_what_is_kept_is_there_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while the last state, or the best weights, are kept once more."""
    checkpoints, learner = Checkpoints(tmp_path), learner_of(1)
    checkpoints.save(learner, RefineProgress(0.1, 10))
    BestWeights(tmp_path).keep(learner.policy)
    kept = [weight.detach().clone() for weight in learner.policy.weights.values()]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        checkpoints.save(learner, RefineProgress(0.1, 10))
        with pytest.raises(KeyboardInterrupt):
            BestWeights(tmp_path).keep(learner_of(2).policy)
    restored = checkpoints.restore(learner_of(2))
    assert restored is not None and restored.update == 10
    other = learner_of(2)
    BestWeights(tmp_path).load(other.policy)
    assert all(torch.equal(one, two) for one, two in zip(kept, other.policy.weights.values(), strict=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weights.safetensors", None),
        ("optimizer.safetensors", None),
        ("weights.safetensors", b""),
        ("state.json", None),
        ("state.json", b'{"x": 1}'),
        ("state.json", b'{"coefficient": 0.1, "update": 4}'),
        ("state.json", b'{"coefficient": 0.1, "update": "5"}'),
    ],
)
def test_a_damaged_state_is_named_with_what_to_do(tmp_path: Path, name: str, content: bytes | None) -> None:
    """None stands for the first half of what was there."""
    checkpoints, learner = Checkpoints(tmp_path), learner_of()
    checkpoints.save(learner, RefineProgress(0.1, 5))
    file = tmp_path / "update-000005" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(
        InputError, match=r"update-000005: is damaged \(.*\): delete this folder to continue from"
    ) as raised:
        checkpoints.restore(learner)
    assert "\n" not in str(raised.value)


def test_damaged_best_weights_are_named_with_what_to_do(tmp_path: Path) -> None:
    learner = learner_of()
    BestWeights(tmp_path).keep(learner.policy)
    path = BestWeights(tmp_path).path
    path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(
        InputError, match=r"weights\.safetensors: is damaged .*: delete it to end with the last weights"
    ):
        BestWeights(tmp_path).load(learner.policy)


def test_a_policy_without_weights_to_learn_is_a_mistake_of_ours() -> None:
    policy = Policy(lora_model("causal"))
    for parameter in policy.weights.values():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing learns"):
        Learner.create(policy, PPOOptions(), Workers())
