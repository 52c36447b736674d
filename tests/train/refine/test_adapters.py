"""Two adapters in one, exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from examples.train.toy_ppo import lora_model, plain_model
from lmcot_cli.errors import ModelError
from lmcot_train.refine.adapters import LoraFactors, save, stacked


def test_stacking_by_hand() -> None:
    # First: rank 1, alpha 2, so scale 2: B A = [1 2]^T [3] -> 2 * [3 6]^T = [6 12]^T.
    # Second: rank 1, alpha 3, scale 3: [1 1]^T [5] -> [15 15]^T. Together [21 27]^T.
    names = ("x.lora_A.weight", "x.lora_B.weight")
    first = LoraFactors(
        dict(zip(names, (torch.tensor([[3.0]]), torch.tensor([[1.0], [2.0]])), strict=True)),
        LoraConfig(r=1, lora_alpha=2),
    )
    second = LoraFactors(
        dict(zip(names, (torch.tensor([[5.0]]), torch.tensor([[1.0], [1.0]])), strict=True)),
        LoraConfig(r=1, lora_alpha=3),
    )
    both = stacked(first, second)
    assert (both.config.r, both.scale) == (2, 1.0)
    assert (both.tensors[names[1]] @ both.tensors[names[0]]).tolist() == [[21.0], [27.0]]


def randomised(model: PeftModel) -> PeftModel:
    """Give an adapter something to say: fresh ones have B = 0."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return model


@pytest.mark.parametrize("shape", ["causal", "t5"])
def test_the_stacked_adapter_on_the_base_is_the_refined_model(tmp_path: Path, shape: str) -> None:
    """Base + (distilled merged) + fresh = base + what is written, as peft reads it."""
    distilled_model = randomised(lora_model(shape))  # type: ignore[arg-type]
    distilled = LoraFactors.of(distilled_model)
    merged = distilled_model.merge_and_unload()
    config = LoraConfig(
        r=4,
        lora_alpha=12,
        target_modules=distilled.config.target_modules,
        task_type=distilled.config.task_type,
    )
    refined = randomised(get_peft_model(merged, config)).eval()
    save(stacked(distilled, LoraFactors.of(refined)), tmp_path)
    again = PeftModel.from_pretrained(plain_model(shape), tmp_path).eval()  # type: ignore[arg-type]
    ids = torch.tensor([[3, 4, 5, 6]])
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids} if shape == "t5" else {})
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, refined(**inputs).logits, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(
            plain_model(shape).eval()(**inputs).logits, refined(**inputs).logits, atol=1e-2
        )  # type: ignore[arg-type]


def test_what_is_no_plain_lora_is_refused() -> None:
    model = get_peft_model(
        plain_model("causal"),
        LoraConfig(r=2, target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 4}),
    )
    with pytest.raises(ModelError, match="not plain LoRA"):
        LoraFactors.of(model)
