"""Open the model that is to be refined, ready to learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lmcot_train.lora import LoraOptions
from lmcot_train.models import Report, add_adapter, is_encoder_decoder, open_run
from lmcot_train.prompting import RationalePrompts
from lmcot_train.refine import adapters


class Start(NamedTuple):
    """A model that is to be refined.

    Attributes:
        model: With a fresh adapter on top, or all weights free to learn.
        tokenizer: Its tokenizer.
        distilled: The adapter that was merged into the weights; None where the run had trained all of them.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    distilled: adapters.LoraFactors | None

    def save(self, adapter: Path, model: Path) -> None:
        """Write what was learned: an adapter for the same base where there was one, else all weights.

        Args:
            adapter: Folder for an adapter.
            model: Folder for all weights.
        """
        folder = adapter if self.leaves_adapter else model
        if self.leaves_adapter:
            assert isinstance(self.model, PeftModel) and self.distilled
            adapters.save(adapters.stacked(self.distilled, adapters.LoraFactors.of(self.model)), folder)
        else:
            _merged(self.model).save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)
        encoder = is_encoder_decoder(cast("PreTrainedModel", self.model))
        RationalePrompts(self.tokenizer, encoder_decoder=encoder).write_generation_config(folder)

    @property
    def leaves_adapter(self) -> bool:
        """Whether an adapter is written, not all weights."""
        return self.distilled is not None and isinstance(self.model, PeftModel)


def open_start(run: Path, rank: int, *, full: bool, device: torch.device, seed: int, report: Report) -> Start:
    """Open a run's model, its adapter merged into the weights, with a fresh adapter on top.

    Args:
        run: A run of `lmcot train distill` or `refine`.
        rank: Rank of the fresh adapter.
        full: Put none on top: all weights are to learn.
        device: Where the model is to be.
        seed: Seeds the fresh adapter.
        report: Is told what the model lacks.

    Raises:
        InputError: There is no finished run.
        ModelError: It cannot be loaded.
    """
    dtype = torch.bfloat16 if device.type == "cuda" and not full else torch.float32
    model, tokenizer = open_run(run, dtype=dtype, report=report)
    distilled: adapters.LoraFactors | None = None
    targets: tuple[str, ...] = ("all-linear",)
    if isinstance(model, PeftModel):
        distilled = adapters.LoraFactors.of(model)
        targets = tuple(sorted(distilled.config.target_modules))
        model = _merged(model)
    if full:
        model.requires_grad_(True)  # the adapter that was merged had frozen them
    else:
        torch.manual_seed(seed)
        model = add_adapter(model, LoraOptions(rank, 2 * rank, 0.0, targets))
    return Start(model.to(device), tokenizer, distilled)


def _merged(model: Any) -> Any:
    """Return the plain model, an adapter merged into its weights."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model
