"""Open the model to refine, and save what it learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedTokenizerBase

from lmcot_train.lora import LoraOptions
from lmcot_train.models import Report, add_adapter, open_run
from lmcot_train.prompting import save_tokenizer
from lmcot_train.refine import adapters
from lmcot_train.refine.options import RefineOptions


class Start(NamedTuple):
    """A model to refine, with a fresh adapter on top or all weights free to learn.

    `distilled` is the adapter that was merged into the weights; None where the run had trained all of them.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    distilled: adapters.LoraFactors | None

    def save(self, adapter: Path, model: Path) -> None:
        """Write an adapter for the same base into `adapter` if there was one, else all weights into `model`."""
        folder = adapter if self.leaves_adapter else model
        if self.leaves_adapter:
            assert isinstance(self.model, PeftModel) and self.distilled
            adapters.save(adapters.stacked(self.distilled, adapters.LoraFactors.of(self.model)), folder)
        else:
            _merged(self.model).save_pretrained(folder, safe_serialization=True)
        save_tokenizer(self.tokenizer, folder, self.model)

    @property
    def leaves_adapter(self) -> bool:
        """Whether an adapter is written, not all weights."""
        return self.distilled is not None and isinstance(self.model, PeftModel)


def open_start(options: RefineOptions, device: torch.device, report: Report) -> Start:
    """Open a run's model with its adapter merged into the weights, and a fresh one on top unless all weights learn.

    Raises:
        InputError: There is no finished run.
        ModelError: It cannot be loaded.
    """
    dtype = torch.bfloat16 if device.type == "cuda" and not options.full else torch.float32
    model, tokenizer = open_run(options.start, dtype=dtype, report=report)
    distilled: adapters.LoraFactors | None = None
    targets: tuple[str, ...] = ("all-linear",)
    if isinstance(model, PeftModel):
        distilled = adapters.LoraFactors.of(model)
        targets = tuple(sorted(distilled.config.target_modules))
        model = _merged(model)
    if options.full:
        model.requires_grad_(True)  # the adapter that was merged had frozen them
    else:
        torch.manual_seed(options.ppo.seed)
        rank = options.lora_rank
        model = add_adapter(model, LoraOptions(rank, 2 * rank, 0.0, targets))
    return Start(model.to(device), tokenizer, distilled)


def _merged(model: Any) -> Any:
    """Return the model with its adapter, if any, merged into its weights."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model
