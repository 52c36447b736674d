"""The settings of scoring and their defaults."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.scoring.metrics import Rules


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """How answers are scored.

    Attributes:
        rules: The official script whose rules are followed.
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples of every interval.
    """

    rules: Rules = Rules.HOTPOTQA
    seed: int = 0
    resamples: int = 10_000
