"""Measure how often a model ends what it writes.

LoRA cannot teach that where the end token's embedding was never trained. Bases of the Qwen and Llama families have
turn-end tokens that pretraining never saw: their rows of the output matrix are all alike, and LoRA leaves that matrix
as it is. The distilled model then writes on until a limit stops it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset

LOOKED_AT = 32
"""Examples that are looked at: enough to tell most from few."""

MOST = 0.5


@torch.no_grad()
def share_ended(model: Any, data: Dataset) -> float:
    """Return the share of examples of which the model predicts the end token where the completion ends."""
    training = model.training
    model.eval()
    examples = list(data.select(range(min(LOOKED_AT, len(data)))))
    ended = sum(_ends(model, example) for example in examples)
    model.train(training)
    return ended / len(examples)


def _ends(model: Any, example: dict[str, Any]) -> bool:
    ids, labels = _row(example["input_ids"], model), _row(example["labels"], model)
    if model.config.is_encoder_decoder:
        logits = model(input_ids=ids, labels=labels).logits[0, -1]
    else:
        logits = model(input_ids=ids[:, :-1]).logits[0, -1]
    return int(logits.argmax()) == int(labels[0, -1])


def _row(ids: Sequence[int], model: Any) -> torch.Tensor:
    return torch.tensor([list(ids)], device=model.device)


def warning(share: float, end: str, *, full: bool) -> str | None:
    """Return a warning for a model that seldom ends, or None.

    Args:
        share: What `share_ended` returned.
        end: The token that ends a completion.
        full: Whether all weights were trained.
    """
    if share > MOST:
        return None
    found = f"warning: {end} ends only {share:.0%} of the rationales it should end, so the model will run on"
    if full:
        return f"{found}: train longer (--epochs), or at another rate"
    return (
        f"{found}: train longer (--epochs); if that does not help, its embedding was never trained, and LoRA leaves it"
        " as it is: train with --full, name the output layer in --lora-targets, or take a base that ends its turns"
    )
