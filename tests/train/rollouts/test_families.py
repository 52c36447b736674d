"""Families that people train: what each does besides attention is done here, too, or the family is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lmcot_cli.errors import ModelError
from lmcot_train.rollouts.batch import RolloutGroup, collate
from lmcot_train.rollouts.causal import CausalNetwork
from lmcot_train.rollouts.policy import Policy
from lmcot_train.rollouts.separate import SeparateNetwork

WINDOW = 8
SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 0,
    "eos_token_id": 1, "initializer_range": 0.2,
}  # fmt: skip
MIXED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
SHARING: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, **MIXED},
    "qwen3": {},
    "gemma2": {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 2.0, **MIXED},
    "gemma3_text": MIXED,
    "mistral": {"sliding_window": WINDOW},
    "phi3": {"sliding_window": WINDOW},
    "smollm3": {"no_rope_layers": [1, 0]},
    "granite": {"logits_scaling": 4.0, "residual_multiplier": 0.5, "embedding_multiplier": 2.0},
    "cohere": {"logit_scale": 0.25},
}
"""Settings that make the family differ from Llama, with prompts longer than the window."""
SEPARATE: dict[str, dict[str, Any]] = {
    "lfm2": {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "block_multiple_of": 8},
}
PROMPT = tuple(range(2, 2 + 3 * WINDOW))
GROUPS = [
    RolloutGroup(PROMPT, ((30, 31, 32, 1), (33, 34, 1), (35, 36, 37, 38))),
    RolloutGroup(PROMPT[:5], ((40, 1), (41, 42, 43), (44, 45, 46, 47))),
]


def tiny(kind: str, settings: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **settings})
    config._attn_implementation = "eager" if kind == "gemma2" else "sdpa"  # only eager attention is capped
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model.float().eval()


def policy_of(kind: str) -> Policy:
    return Policy(tiny(kind, {**SHARING, **SEPARATE}[kind]))


@pytest.mark.parametrize("kind", [*SHARING, *SEPARATE])
def test_a_family_is_scored_as_it_scores_itself(kind: str) -> None:
    policy = policy_of(kind)
    assert policy.fit(GROUPS[0]) is (kind in SHARING)
    network = policy.network
    batch = collate(GROUPS, network.side, network.device)
    expected = torch.cat([network.plain_logits(g.prompt, one) for g in GROUPS for one in g.completions])
    torch.testing.assert_close(network.logits(network.hidden(batch)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [*SHARING, *SEPARATE])
def test_a_family_writes_what_it_scores(kind: str) -> None:
    policy = policy_of(kind)
    policy.fit(GROUPS[0])
    network = policy.network
    whole = [RolloutGroup(g.prompt, tuple((*one[:2], 50, 51) for one in g.completions)) for g in GROUPS]
    batch = collate(whole, network.side, network.device)
    shape = (*batch.mask.shape, network.width)
    expected = torch.zeros(shape).masked_scatter(batch.mask[..., None], network.hidden(batch))
    decoding = network.decode([group.prompt for group in whole], samples=3, tokens=4)
    for place in range(3):
        torch.testing.assert_close(decoding.hidden, expected[:, :, place], atol=1e-4, rtol=1e-4)
        decoding.step(batch.completions[:, :, place])
    decoding.keep(torch.tensor([1]))
    torch.testing.assert_close(decoding.hidden, expected[1:, :, 3], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["gemma3_text", "phi3"])
@torch.no_grad()
def test_a_window_is_seen_only_beyond_its_length(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first prompt of a run once stood for all; a longer one was then learned from with the window left out."""
    policy = policy_of(kind)
    monkeypatch.setattr(CausalNetwork, "_masks", lambda self, positions, seen, mask: self._additive(mask))
    assert policy._packing_error(RolloutGroup(PROMPT[:4], ((30,), (31,)))) < 1e-4
    assert policy._packing_error(GROUPS[0]) > 1e-2


def test_the_reference_of_separate_rows_stays_where_the_policy_began() -> None:
    policy = policy_of("lfm2")
    policy.fit(GROUPS[0])
    assert isinstance(policy.network, SeparateNetwork)
    batch = collate(GROUPS, policy.network.side, policy.network.device)
    with torch.no_grad():
        before = policy(batch).logprobs
        for parameter in policy.weights.values():
            parameter.add_(0.05 * torch.randn_like(parameter))
        with policy.as_reference():
            assert isinstance(policy.network, SeparateNetwork)
            torch.testing.assert_close(policy(batch).logprobs, before)
        assert (policy(batch).logprobs - before).abs().max() > 0.01


def test_a_family_without_a_cache_is_refused_before_any_work() -> None:
    config = AutoConfig.for_model("mamba", vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with pytest.raises(
        ModelError, match=r"'mamba' models cannot be refined: .*; take a base of another family: Llama"
    ):
        Policy(model).fit(GROUPS[0])


def test_fluency_is_that_of_temperature_1() -> None:
    model = tiny("llama", {})
    hot, plain = Policy(model, temperature=1.3), Policy(model)
    batch = collate(GROUPS, "left", hot.network.device)
    torch.testing.assert_close(hot(batch).untempered, plain(batch).logprobs)
    assert (hot(batch).logprobs - plain(batch).logprobs).abs().max() > 0.01
