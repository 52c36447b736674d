"""Sharing a prompt among its completions is an economy, not another model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from examples.train.toy_ppo import Shape, lora_model, plain_model
from lmcot_cli.errors import ModelError
from lmcot_train.rollouts.batch import RolloutGroup, collate, pad, passes
from lmcot_train.rollouts.causal import CausalNetwork, packed_mask
from lmcot_train.rollouts.network import DecoderOnly, Network
from lmcot_train.rollouts.policy import Policy, scatter
from lmcot_train.rollouts.seq2seq import Seq2SeqNetwork

CPU = torch.device("cpu")
GROUPS = [
    RolloutGroup((5, 6, 7, 8, 9), ((10, 11, 12, 1), (13, 1))),
    RolloutGroup((20, 21), ((22, 1), (23, 24, 25))),
    RolloutGroup((30, 31, 32), ((33,), (34, 35, 36, 37))),
]


def network_of(shape: Shape) -> Network:
    model = plain_model(shape).eval()
    return Seq2SeqNetwork(model) if shape == "t5" else CausalNetwork(model)


def alone(network: Network, group: RolloutGroup) -> list[Tensor]:
    """Score each completion by the model's own forward pass, by itself."""
    return [network.plain_logits(group.prompt, one) for one in group.completions]


def test_padding_is_on_the_side_that_is_asked_for() -> None:
    left, left_mask = pad([[5, 6, 7], [8]], "left", CPU)
    right, right_mask = pad([[5, 6, 7], [8]], "right", CPU)
    assert left.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert right.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert left_mask.tolist() == [[True] * 3, [False, False, True]]
    assert right_mask.tolist() == [[True] * 3, [True, False, False]]


def test_passes_hold_what_the_budget_allows_the_largest_first() -> None:
    assert list(passes([5, 9, 3, 4], lambda cost: cost, 10)) == [[1], [0, 3], [2]]
    assert list(passes([50], lambda cost: cost, 10)) == [[0]]
    assert list(passes([], lambda cost: 1, 10)) == []


def test_the_packed_mask_shows_a_completion_its_prompt_and_itself() -> None:
    batch = collate([RolloutGroup((5, 6), ((7, 8), (9, 10)))], "left", CPU)
    assert packed_mask(batch)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1, 1],
    ]


def test_no_token_sees_padding() -> None:
    mask = packed_mask(collate(GROUPS, "left", CPU))
    batch = collate(GROUPS, "left", CPU)
    real = torch.cat([batch.prompt_mask, batch.mask.flatten(1)], 1)
    assert not (mask[:, 0] & real[:, :, None] & ~real[:, None, :]).any()
    assert mask.any(-1).all()  # a row that saw nothing would be NaN


def test_completions_of_shared_prompts_are_scored_as_if_alone(shape: Shape) -> None:
    network = network_of(shape)
    batch = collate(GROUPS, network.side, CPU)
    together = network.logits(network.hidden(batch))
    expected = torch.cat([logits for group in GROUPS for logits in alone(network, group)])
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=1e-4)


def test_gradients_through_shared_prompts_are_those_of_separate_rows(shape: Shape) -> None:
    network = network_of(shape)
    batch = collate(GROUPS, network.side, CPU)
    network.logits(network.hidden(batch)).logsumexp(-1).sum().backward()
    together = {name: p.grad.clone() for name, p in network.model.named_parameters() if p.grad is not None}
    network.zero_grad()
    torch.cat([one for group in GROUPS for one in alone(network, group)]).logsumexp(-1).sum().backward()
    assert len(together) > 10
    for name, parameter in network.model.named_parameters():
        torch.testing.assert_close(together[name], parameter.grad, atol=1e-4, rtol=1e-3)


def test_writing_token_by_token_gives_the_logits_of_one_pass(shape: Shape) -> None:
    network = network_of(shape)
    groups = [RolloutGroup(g.prompt, ((40, 41, 42), (43, 44, 45))) for g in GROUPS]
    batch = collate(groups, network.side, CPU)
    expected = torch.zeros(3, 2, 3, network.width).masked_scatter(
        batch.mask[..., None], network.hidden(batch)
    )
    decoding = network.decode([group.prompt for group in groups], samples=2, tokens=3)
    torch.testing.assert_close(decoding.hidden, expected[:, :, 0], atol=1e-5, rtol=1e-4)
    decoding.step(batch.completions[:, :, 0])
    torch.testing.assert_close(decoding.hidden, expected[:, :, 1], atol=1e-5, rtol=1e-4)
    kept = torch.tensor([0, 2])
    decoding.keep(kept)
    decoding.step(batch.completions[kept, :, 1])
    torch.testing.assert_close(decoding.hidden, expected[kept, :, 2], atol=1e-5, rtol=1e-4)


def test_the_policy_scores_real_tokens_and_leaves_padding_at_0(shape: Shape) -> None:
    policy = Policy(lora_model(shape), temperature=0.5)
    batch = collate(GROUPS, policy.network.side, CPU)
    scores = policy(batch)
    logits = torch.cat([one for group in GROUPS for one in alone(policy.network, group)]) / 0.5
    tokens = torch.tensor([token for group in GROUPS for one in group.completions for token in one])
    expected = logits.log_softmax(-1)[range(len(tokens)), tokens]
    torch.testing.assert_close(scores.logprobs[batch.mask], expected, atol=1e-5, rtol=1e-4)
    assert not scores.logprobs[~batch.mask].any()
    assert not scores.values.any()  # the value head starts at 0


@pytest.mark.parametrize("full", [False, True])
def test_the_reference_stays_where_the_policy_began(shape: Shape, full: bool) -> None:
    policy = Policy(plain_model(shape) if full else lora_model(shape))
    batch = collate(GROUPS, policy.network.side, CPU)
    with torch.no_grad():
        before = policy(batch).logprobs
        for parameter in policy.weights.values():
            parameter.add_(0.02 * torch.randn_like(parameter))
        with policy.as_reference():
            reference = policy(batch).logprobs
        after = policy(batch).logprobs
    torch.testing.assert_close(reference, before)
    assert (after - before).abs().max() > 0.01


def test_a_model_that_cannot_be_read_as_it_reads_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(lora_model("causal"))
    assert policy.fit(GROUPS[0])
    plain = DecoderOnly.plain_logits
    monkeypatch.setattr(DecoderOnly, "plain_logits", lambda self, prompt, one: plain(self, prompt[1:], one))
    with pytest.raises(ModelError, match=r"'llama' models cannot be refined.*another family"):
        policy.fit(GROUPS[0])


def test_scatter_is_the_inverse_of_picking() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    values = torch.tensor([1.0, 2, 3])
    assert scatter(values, mask).tolist() == [[1, 0], [2, 3]]
    assert torch.equal(scatter(values, mask)[mask], values)
