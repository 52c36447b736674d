"""The settings of distillation and their defaults; the command line reads its defaults from here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any, Literal

from lmcot_cli.errors import UsageError
from lmcot_cli.prompts.options import PromptOptions
from lmcot_train.lora import LoraOptions

Precision = Literal["auto", "float32", "bfloat16"]
_MOST = 1_000_000
"""Of whatever is counted: beyond all use, and within what every library computes with."""
_SEEDS = 2**32
"""NumPy, which is seeded too, takes no more."""


@dataclass(frozen=True, slots=True)
class DistillOptions:
    """How a model learns from rationales.

    Attributes:
        lora: The adapter that is trained.
        full: Train all weights and no adapter.
        epochs: Times the training rows are gone through, at most.
        batch_size: Rows a step, over all processes together, which share them evenly.
        micro_batch: Rows that go through the model at once on one device; None takes its share of `batch_size`, which
            any other number divides. Fewer need less memory and change the result by rounding only.
        learning_rate: Its peak; it rises over `warmup` of the steps and falls to zero along a cosine.
        warmup: Share of the steps.
        weight_decay: AdamW's.
        max_tokens: Rows that take more tokens, prompt and rationale together, are left out; None takes as many as
            the model has positions for.
        validation_share: Share of the questions kept from training to find the best moment to stop; 0 for none.
        evaluations: Times an epoch that the validation loss is measured and a checkpoint written.
        patience: Evaluations in a row without a better validation loss after which training stops.
        precision: Of the arithmetic; `auto` is bfloat16 on CUDA and float32 elsewhere.
        seed: Seeds the adapter, the split, the order and dropout.
        prompting: What the model is asked beside the question, as `lmcot answer` is to ask it.
        threads: Threads that compute on a CPU; None leaves it to torch.
    """

    lora: LoraOptions = field(default_factory=LoraOptions)
    full: bool = False
    epochs: int = 3
    batch_size: int = 16
    micro_batch: int | None = None
    learning_rate: float = 2e-4
    warmup: float = 0.03
    weight_decay: float = 0.0
    max_tokens: int | None = None
    validation_share: float = 0.1
    evaluations: int = 2
    patience: int = 3
    precision: Precision = "auto"
    seed: int = 0
    prompting: PromptOptions = field(default_factory=PromptOptions)
    threads: int | None = None

    def check(self, processes: int = 1) -> None:
        """Refuse values that cannot work.

        Args:
            processes: How many train together.

        Raises:
            UsageError: Names the option.
        """
        counts = {
            "epochs": self.epochs,
            "batch-size": self.batch_size,
            "micro-batch": self.micro_batch,
            "max-tokens": self.max_tokens,
            "evaluations": self.evaluations,
            "patience": self.patience,
            "lora-rank": self.lora.rank,
            "lora-alpha": self.lora.alpha,
            "threads": self.threads,
        }
        for option, value in counts.items():
            if value is not None and not 1 <= value <= _MOST:
                raise UsageError(f"--{option} {value}: give a number from 1 to {_MOST:,}")
        if not 0 <= self.seed < _SEEDS:
            raise UsageError(f"--seed {self.seed}: give a number from 0 to {_SEEDS - 1}")
        shares = {
            "warmup": self.warmup,
            "validation-share": self.validation_share,
            "lora-dropout": self.lora.dropout,
        }
        for option, share in shares.items():
            if not 0 <= share < 1:
                raise UsageError(f"--{option} {share:g}: give a number from 0 up to, but not, 1")
        if not 0 < self.learning_rate < inf:
            raise UsageError(f"--learning-rate {self.learning_rate:g}: give a number above 0")
        if not 0 <= self.weight_decay < inf:
            raise UsageError(f"--weight-decay {self.weight_decay:g}: give a number from 0")
        self.prompting.check()
        self._check_shares(processes)

    def _check_shares(self, processes: int) -> None:
        """Refuse what would make a step of other rows than `batch_size`."""
        if self.batch_size % processes:
            raise UsageError(f"--batch-size {self.batch_size}: give a multiple of the {processes} processes")
        share = self.batch_size // processes
        if self.micro_batch and self.micro_batch < share and share % self.micro_batch:
            raise UsageError(
                f"--micro-batch {self.micro_batch}: give a number that divides the {share} rows of a step"
                " in one process"
            )

    def settings(self) -> dict[str, Any]:
        """Return what changes the result, by the name of its option, for the run file."""
        elsewhere = {"lora", "seed", "prompting", "threads", "micro_batch"}
        values = {name: value for name, value in asdict(self).items() if name not in elsewhere}
        lora = {} if self.full else {f"lora_{name}": value for name, value in asdict(self.lora).items()}
        return values | {name: list(v) if isinstance(v, tuple) else v for name, v in lora.items()}
