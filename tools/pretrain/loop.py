"""The training loop: language-model loss on the completions, and a guide for the attention of a few heads."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import fmean

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from tools.pretrain.examples import (
    MENTION,
    POINTER_HEADS,
    VALUE,
    Difficulty,
    ExampleMaker,
    PretrainExample,
    Task,
)
from tools.pretrain.model import Llama


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How to train.

    Attributes:
        tasks: The tasks to learn, each as often as it is named.
        minutes: Budget in CPU time of the training thread, so that a pause costs nothing; learning rate and
            difficulty follow the share of it that is spent.
        contexts: Contexts a step.
        questions: Questions a context.
        distractors: Most distractors a context, reached after `warm_up` of the budget.
        warm_up: Share of the budget over which contexts grow.
        decay: Share of the budget, at its end, over which the learning rate falls to zero.
        muon_rate, adam_rate: Peak learning rates of the matrices and of everything else.
        guide: Weight of the attention guide; it falls to zero when the learning rate starts to.
        log_every: Steps a record of the log covers.
        seed: Seeds the examples.
    """

    tasks: tuple[Task, ...]
    minutes: float = 60.0
    contexts: int = 4
    questions: int = 8
    distractors: int = 8
    warm_up: float = 0.2
    decay: float = 0.35
    muon_rate: float = 5e-3
    adam_rate: float = 3e-3
    guide: float = 0.5
    log_every: int = 50
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ExampleBatch:
    """Examples padded to one length; see `collate`."""

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor
    pointers: dict[int, tuple[Tensor, ...]]  # purpose -> batch, row, column, weight


def collate(examples: list[PretrainExample]) -> ExampleBatch:
    """Stack examples; tokens, positions and targets are [batch, length], the mask [batch, 1, length, length]."""
    length = max(len(example.tokens) for example in examples)

    def pad(rows: list[list[int]], value: int) -> Tensor:
        return torch.tensor([row + [value] * (length - len(row)) for row in rows])

    segments = pad([e.segments for e in examples], -1)
    rows, columns = segments[:, :, None], segments[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mask = causal & ((columns == 0) | (columns == rows))
    pointers: dict[int, tuple[Tensor, ...]] = {}
    for purpose in POINTER_HEADS:
        found = [
            (i, p.row, p.column, p.weight)
            for i, e in enumerate(examples)
            for p in e.pointers
            if p.purpose == purpose
        ]
        if found:
            batch, row, column, weight = zip(*found, strict=True)
            pointers[purpose] = tuple(map(torch.tensor, (batch, row, column, weight)))
    return ExampleBatch(
        pad([e.tokens for e in examples], 0),
        pad([e.positions for e in examples], 0),
        mask[:, None],
        pad([e.targets for e in examples], -100),
        pointers,
    )


def guide_loss(batch: ExampleBatch, seen: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Cross-entropy between where each guided head looks and where it should: mean over pointers, summed over heads."""
    losses = []
    for purpose, (example, row, column, weight) in batch.pointers.items():
        layer, head = POINTER_HEADS[purpose]
        queries, keys = (tensor[:, head].float() for tensor in seen[layer])
        scores = queries @ keys.transpose(1, 2) * queries.shape[-1] ** -0.5
        log_attention = scores.masked_fill(~batch.mask[:, 0], float("-inf")).log_softmax(-1)
        losses.append(-(log_attention[example, row, column] * weight).sum() / weight.sum())
    return torch.stack(losses).sum()


def language_loss(model: Llama, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy where there is a target, and which predictions were right [targets]."""
    trained = targets != -100
    logits = model.logits(hidden[trained]).float()
    return F.cross_entropy(logits, targets[trained]), logits.argmax(-1) == targets[trained]


def optimizers(model: nn.Module, options: LoopOptions) -> list[torch.optim.Optimizer]:
    """Muon (arXiv 2502.16982) for the matrices inside layers, AdamW for embeddings and norms."""
    inside = {name for name, p in model.named_parameters() if name.startswith("layers.") and p.dim() == 2}
    matrices = [p for name, p in model.named_parameters() if name in inside]
    rest = [p for name, p in model.named_parameters() if name not in inside]
    return [
        torch.optim.Muon(matrices, lr=options.muon_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=options.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(
    model: Llama,
    tokenizer: Tokenizer,
    options: LoopOptions,
    log: Path,
    clock: Callable[[], float] = time.thread_time,
    watch: Callable[[int, float, float], None] = lambda step, minutes, loss: None,
) -> Iterator[dict[str, float]]:
    """Train in place until the budget is spent; yield and append to `log` a record every `log_every` steps.

    After every step `watch` is told its number, the minutes of the budget that were spent before it, and its loss.
    """
    maker = ExampleMaker(tokenizer, options.tasks, Random(f"pretrain/{options.seed}"))
    steppers = optimizers(model, options)
    peaks = [stepper.param_groups[0]["lr"] for stepper in steppers]
    log.write_text(json.dumps(asdict(options)) + "\n")
    start, step, tokens, window = clock(), 0, 0, []
    while (progress := (clock() - start) / 60 / options.minutes) < 1:
        batch = collate([maker.make(_difficulty(options, progress)) for _ in range(options.contexts)])
        scale = min(1.0, (step + 1) / 50, (1 - progress) / options.decay)
        for stepper, peak in zip(steppers, peaks, strict=True):
            stepper.param_groups[0]["lr"] = peak * scale
        window.append(_step(model, batch, steppers, options.guide if progress < 1 - options.decay else 0.0))
        step, tokens = step + 1, tokens + batch.tokens.numel()
        watch(step, progress * options.minutes, window[-1]["loss"])
        if step % options.log_every == 0:
            means = _means(window)
            record = {"step": step, "minutes": progress * options.minutes, "tokens": tokens, **means}
            with log.open("a") as file:
                file.write(json.dumps(record) + "\n")
            window = []
            yield record


def _difficulty(options: LoopOptions, progress: float) -> Difficulty:
    grown = min(1.0, progress / options.warm_up)
    return Difficulty(round(options.distractors * grown), options.questions)


def _step(
    model: Llama, batch: ExampleBatch, steppers: list[torch.optim.Optimizer], guide: float
) -> dict[str, float]:
    with torch.autocast("cpu", torch.bfloat16):
        hidden, seen = model(batch.tokens, batch.positions, batch.mask)
        loss, right = language_loss(model, hidden, batch.targets)
    guided = guide_loss(batch, seen) if guide else torch.zeros(())
    (loss + guide * guided).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for stepper in steppers:
        stepper.step()
        stepper.zero_grad()
    copied = {"value_accuracy": VALUE, "mention_accuracy": MENTION}
    return {
        "loss": loss.item(),
        "guide": guided.item(),
        "accuracy": right.float().mean().item(),
        **{key: _copy_accuracy(batch, right, p) for key, p in copied.items() if p in batch.pointers},
    }


def _means(window: list[dict[str, float]]) -> dict[str, float]:
    """Average each figure over the steps that have it: a step may have had nothing to copy."""
    keys = dict.fromkeys(key for step in window for key in step)
    return {key: fmean(step[key] for step in window if key in step) for key in keys}


def _copy_accuracy(batch: ExampleBatch, right: Tensor, purpose: int) -> float:
    """Share of copied tokens that were predicted right: `VALUE`, from the context, is one hop of a chain."""
    correct = torch.zeros_like(batch.targets, dtype=torch.bool)
    correct[batch.targets != -100] = right
    example, row, _, _ = batch.pointers[purpose]
    return correct[example, row].float().mean().item()
