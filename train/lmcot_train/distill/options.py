"""The settings of distillation; the command line reads its defaults from here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lmcot_cli.prompts.options import PromptOptions
from lmcot_cli.settings.declaration import NOT_NEGATIVE, POSITIVE, Rule, check, group, problems, setting
from lmcot_train.lora import LoraOptions

Precision = Literal["auto", "float32", "bfloat16"]
_COUNT = Rule(least=1, most=1_000_000)
"""More than anyone needs, and within the range of every library."""
_SEEDS = Rule(least=0, most=2**32 - 1)
"""The range of NumPy's seeds."""
_PART = Rule(least=0, below=1)
_PANEL = "Training"


@dataclass(frozen=True, slots=True)
class DistillOptions:
    """How a model learns from rationales."""

    lora: LoraOptions = group(LoraOptions)
    full: bool = setting(False, "Train all weights instead of an adapter.", panel="Adapter")
    epochs: int = setting(3, "Maximum epochs.", rule=_COUNT, panel=_PANEL)
    batch_size: int = setting(
        16, "Rows per step, over all processes: a multiple of their number.", rule=_COUNT, panel=_PANEL
    )
    micro_batch: int | None = setting(
        None,
        "Rows at once on one device, a divisor of the rows per step; fewer need less memory and change the result by"
        " rounding only.",
        shown="all rows of a step",
        rule=_COUNT,
        panel=_PANEL,
    )
    learning_rate: float = setting(
        2e-4,
        "Peak learning rate; it rises over --warmup and falls to zero along a cosine.",
        rule=POSITIVE,
        panel=_PANEL,
    )
    warmup: float = setting(0.03, "Share of the steps over which the rate rises.", rule=_PART, panel=_PANEL)
    weight_decay: float = setting(0.0, "Weight decay of AdamW.", rule=NOT_NEGATIVE, panel=_PANEL)
    max_tokens: int | None = setting(
        None,
        "Leave out rows whose prompt and rationale take more tokens.",
        shown="the model's positions",
        rule=_COUNT,
        panel=_PANEL,
    )
    validation_share: float = setting(
        0.1, "Share of the questions to validate on; 0 for none.", rule=_PART, panel=_PANEL
    )
    evaluations: int = setting(2, "Evaluations and checkpoints per epoch.", rule=_COUNT, panel=_PANEL)
    patience: int = setting(
        3, "Evaluations without a better loss after which training stops.", rule=_COUNT, panel=_PANEL
    )
    precision: Precision = setting(
        "auto", "Precision of the arithmetic; auto is bfloat16 on CUDA, float32 elsewhere.", panel=_PANEL
    )
    seed: int = setting(
        0, "Seed of the adapter, the split, the order and dropout.", rule=_SEEDS, panel=_PANEL
    )
    prompting: PromptOptions = group(PromptOptions)
    threads: int | None = setting(None, "Threads that compute on a CPU.", shown="torch's own", rule=_COUNT)

    def check(self, processes: int = 1) -> None:
        """Raise a UsageError that names all values that cannot work, for this many processes that train together."""
        check(self, *problems(self.lora), *self._conflicts(processes))
        self.prompting.check()

    def _conflicts(self, processes: int) -> Iterator[str]:
        """Yield what would give a step other rows than `batch_size`."""
        if self.batch_size % processes:
            yield f"--batch-size {self.batch_size}: give a multiple of the {processes} processes"
        share = self.batch_size // processes
        if self.micro_batch and self.micro_batch < share and share % self.micro_batch:
            yield (
                f"--micro-batch {self.micro_batch}: give a number that divides the {share} rows of a step"
                " in one process"
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings that change the result, by the names of their options, for the run file."""
        elsewhere = {"lora", "seed", "prompting", "threads", "micro_batch"}
        values = {name: value for name, value in asdict(self).items() if name not in elsewhere}
        lora = {} if self.full else {f"lora_{name}": value for name, value in asdict(self.lora).items()}
        return values | {name: list(v) if isinstance(v, tuple) else v for name, v in lora.items()}
