"""What a benchmark finds, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from lmcot_cli.bench.options import BenchOptions

NEARLY = 0.95
"""A narrower width is recommended if it reaches this share of the best rate: it takes less memory."""


def half_range(runs: list[float]) -> float:
    """Return half the distance of the slowest and the fastest run, as a share of the point between them."""
    return (max(runs) - min(runs)) / (max(runs) + min(runs))


@dataclass(frozen=True, slots=True)
class WidthRates:
    """A model at one width.

    Attributes:
        width: Sequences decoded at once.
        runs: Written tokens per second of each repeat, reading the prompts included.
        reading: Prompt tokens read per second.
        peak_memory: Most bytes the process held; None where the system does not say.
        stated_memory: The peak that the engine states beforehand.
    """

    width: int
    runs: list[float]
    reading: float
    peak_memory: int | None
    stated_memory: int

    @property
    def tokens_per_s(self) -> float:
        """The median of the repeats."""
        return median(self.runs)


@dataclass(frozen=True, slots=True)
class ModelRates:
    """A model's facts, ready for JSON, and its rates by width."""

    model: Mapping[str, Any]
    widths: list[WidthRates] = field(default_factory=list)

    @property
    def recommended(self) -> WidthRates | None:
        """The narrowest width that is nearly as fast as the fastest; None if none was measured."""
        best = max((one.tokens_per_s for one in self.widths), default=0.0)
        fast = [one for one in self.widths if one.tokens_per_s >= NEARLY * best]
        return min(fast, key=lambda one: one.width, default=None)


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Everything that has been measured so far.

    Attributes:
        options: What was to be measured.
        machine: Facts of the machine.
        versions: Versions of the programs.
        models: What was found, in the order of the command line.
    """

    options: BenchOptions
    machine: Mapping[str, Any]
    versions: Mapping[str, str | None]
    models: list[ModelRates]

    @property
    def measured(self) -> list[ModelRates]:
        """The models of which at least one width was measured."""
        return [one for one in self.models if one.widths]

    def as_json(self) -> dict[str, Any]:
        """Return the report for JSON: rates in tokens per second, memory in bytes."""
        options = asdict(self.options)
        return {
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "workload": options.pop("workload"),
            "settings": options,
            "models": [_model(one) for one in self.measured],
        }


def _model(rates: ModelRates) -> dict[str, Any]:
    recommended = rates.recommended
    return {
        **rates.model,
        "widths": [{**asdict(one), "tokens_per_s": one.tokens_per_s} for one in rates.widths],
        "recommended_width": recommended and recommended.width,
    }
