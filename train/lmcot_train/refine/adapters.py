"""Refine on top of a distilled adapter, and write one adapter for the same base.

The distilled adapter is merged into the weights in memory and a fresh one is put on top, so that "adapter off" is the
distilled policy, which is the reference. The adapter that is written holds both: the sum of two low-rank products is
one product of the summed rank, s1 B1 A1 + s2 B2 A2 = [s1 B1, s2 B2] [A1; A2].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from lmcot_cli.errors import ModelError

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """A LoRA adapter, which adds scale * B A to each target.

    `tensors` holds A [rank, in] and B [out, rank] of each target by peft's names.
    """

    tensors: Mapping[str, Tensor]
    config: LoraConfig

    @property
    def scale(self) -> float:
        """The factor of B A."""
        rank = float(self.config.r)
        return float(self.config.lora_alpha) / (rank**0.5 if self.config.use_rslora else rank)

    @classmethod
    def of(cls, model: PeftModel) -> LoraFactors:
        """Copy the active adapter out of a model.

        Raises:
            ModelError: It holds something other than A and B of one rank.
        """
        config = model.peft_config["default"]
        found = get_peft_model_state_dict(model)
        tensors = {name: tensor.detach().float().cpu().clone() for name, tensor in found.items()}
        other = [name for name in tensors if ".lora_A." not in name and ".lora_B." not in name]
        if other or config.rank_pattern or config.alpha_pattern or config.use_dora:
            raise ModelError(
                f"the adapter is not plain LoRA ({(other or ['ranks that differ'])[0]}):"
                " merge it into its base first, and refine that with --full"
            )
        return cls(tensors, config)


def stacked(first: LoraFactors, second: LoraFactors) -> LoraFactors:
    """Return one adapter that adds what both add; its rank is the sum of theirs, and their scales are part of B."""
    tensors: dict[str, Tensor] = {}
    for name in {**first.tensors, **second.tensors}:
        of_a = ".lora_A." in name
        parts = [
            one.tensors[name] * (1 if of_a else one.scale) for one in (first, second) if name in one.tensors
        ]
        tensors[name] = torch.cat(parts, 0 if of_a else 1)
    rank = first.config.r + second.config.r
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=first.config.target_modules,
        task_type=first.config.task_type,
        base_model_name_or_path=first.config.base_model_name_or_path,
        inference_mode=True,
    )
    return LoraFactors(tensors, config)


def save(adapter: LoraFactors, folder: Path) -> None:
    """Write an adapter that peft can read."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in adapter.tensors.items()}, folder / _WEIGHTS)
    config = adapter.config.to_dict().items()
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config}
    text = json.dumps(plain, indent=2, sort_keys=True, default=str)
    (folder / _CONFIG).write_text(text + "\n", encoding="utf-8")
