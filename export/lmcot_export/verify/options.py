"""The options of verification, and the thresholds of each type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lmcot_cli.backends.base import Role
from lmcot_cli.backends.engine_options import usable_cores
from lmcot_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Threshold:
    """What an export must reach; a threshold of None is measured but not judged.

    Attributes:
        top1: Least share of positions where source and export find the same token likeliest.
        max_kl: Largest divergence of any position from the source, in nats.
        mean_kl: Largest mean divergence, in nats.
        everywhere: Hold all positions to these three, not only those that predict what the source writes.
        rationales: Least share of rows whose greedy rationales are equal, byte for byte.
        em_drop: Most exact match (a share of 1) that may be lost, the margin of a test of non-inferiority: the export
            passes if the whole 95% interval of the paired difference lies above minus this, fails if all of it lies
            below, and is inconclusive otherwise.
    """

    top1: float | None = None
    max_kl: float | None = None
    mean_kl: float | None = None
    everywhere: bool = False
    rationales: float | None = None
    em_drop: float | None = None


EXACT = Threshold(top1=1.0, max_kl=1e-4, everywhere=True, rationales=0.8, em_drop=0.01)
"""Not every rationale must be equal: one near tie in some hundred tokens turns with the last bits of a logit, and the
engine's KV cache is float16. Nor is the margin of exact match 0, which no number of rows could show."""

NEAR = Threshold(top1=0.99, mean_kl=5e-3, em_drop=0.01)

THRESHOLDS: Mapping[str, Threshold] = {
    "f32": EXACT,
    "onnx": EXACT,
    "f16": NEAR,
    "bf16": NEAR,
    "q8_0": NEAR,
    "q6_k": Threshold(top1=0.95, mean_kl=0.02, em_drop=0.02),
    "q5_k_m": Threshold(top1=0.9, mean_kl=0.05, em_drop=0.03),
    "q4_k_m": Threshold(top1=0.8, mean_kl=0.2, em_drop=0.05),
    "q4_0": Threshold(top1=0.8, mean_kl=0.2, em_drop=0.05),
    "onnx-int8": Threshold(top1=0.8, mean_kl=0.2, em_drop=0.05),
}
"""By the type of the export; see `Subject.type`."""

LOWEST = Threshold(top1=0.5, mean_kl=1.0)
"""For types without a line of their own (two and three bits): a model that is broken is still found."""


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How an export is verified.

    Attributes:
        questions: Question file in any layout: its rows give the prompts, and are answered on both sides. None takes
            prompts from MicroHop and answers nothing.
        rows: Rows to answer at most.
        role: The part the model is to play. A `small` LM is verified by its rationales and what `large` answers from
            them, a `large` one by its own chains of thought and their answers.
        large: Model spec of the LM that answers from the rationales of both sides, where the role is `small`.
        texts: Prompts whose logits are compared, each with what the source writes after it.
        positions: Positions of prompts whose logits are compared; of further texts only what is written counts.
        written: Tokens the source writes after each prompt.
        thresholds: Replace those of `THRESHOLDS`, by type.
        prompts: Folder with templates that replace ours.
        threads: Threads that compute.
        rate_steps: Steps over which the decoding rate is measured; 0 leaves it out.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: A value out of its range.
    """

    questions: Path | None = None
    rows: int = 400
    role: Role = "small"
    large: str = "builtin:large"
    texts: int = 32
    positions: int = 2000
    written: int = 32
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    prompts: Path | None = None
    threads: int = field(default_factory=usable_cores)
    rate_steps: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {
            "rows": self.rows,
            "texts": self.texts,
            "positions": self.positions,
            "written": self.written,
            "threads": self.threads,
        }
        for name, value in counts.items():
            if value < 1:
                raise UsageError(f"verification: {name} is {value}; give 1 or more")

    def threshold(self, type: str) -> Threshold:
        """Return what an export of this type must reach."""
        return self.thresholds.get(type, THRESHOLDS.get(type, LOWEST))
