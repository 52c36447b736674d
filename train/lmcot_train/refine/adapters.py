"""Refine on top of a distilled adapter, and leave one adapter for the same base.

The distilled adapter is merged into the weights in memory and a fresh one is put on top, so that "adapter off" is the
distilled policy, which is the reference. What is written is both in one: the sum of two low-rank products is one
product of twice the rank, s1 B1 A1 + s2 B2 A2 = [s1 B1, s2 B2] [A1; A2].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from lmcot_cli.errors import ModelError

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """A LoRA adapter: what it adds to each target is scale * B A.

    Attributes:
        tensors: A [rank, in] and B [out, rank] of each target, named as peft names them.
        config: Its configuration.
    """

    tensors: Mapping[str, Tensor]
    config: LoraConfig

    @property
    def scale(self) -> float:
        """What B A is multiplied with."""
        rank = float(self.config.r)
        return float(self.config.lora_alpha) / (rank**0.5 if self.config.use_rslora else rank)

    @classmethod
    def of(cls, model: PeftModel) -> LoraFactors:
        """Copy the active adapter out of a model.

        Raises:
            ModelError: It holds more than A and B of equal rank everywhere.
        """
        config = model.peft_config["default"]
        tensors = {
            name: tensor.detach().float().cpu().clone()
            for name, tensor in get_peft_model_state_dict(model).items()
        }
        other = [name for name in tensors if ".lora_A." not in name and ".lora_B." not in name]
        if other or config.rank_pattern or config.alpha_pattern or config.use_dora:
            raise ModelError(
                f"the adapter is no plain LoRA ({(other or ['ranks that differ'])[0]}):"
                " merge it into its base first, and refine that with --full"
            )
        return cls(tensors, config)


def stacked(first: LoraFactors, second: LoraFactors) -> LoraFactors:
    """Return one adapter that adds what both add.

    Its rank is the sum of both, its scale 1: the scales go into B.
    """
    tensors: dict[str, Tensor] = {}
    for name in {**first.tensors, **second.tensors}:
        parts = [
            (adapter.tensors[name], adapter.scale) for adapter in (first, second) if name in adapter.tensors
        ]
        if ".lora_A." in name:
            tensors[name] = torch.cat([tensor for tensor, _ in parts], 0)
        else:
            tensors[name] = torch.cat([tensor * scale for tensor, scale in parts], 1)
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
    """Write an adapter as peft reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in adapter.tensors.items()}, folder / _WEIGHTS)
    config: dict[str, Any] = adapter.config.to_dict()
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    (folder / _CONFIG).write_text(
        json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8"
    )
