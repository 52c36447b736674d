"""The settings of the reward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.settings.declaration import NOT_NEGATIVE, Rule, check, setting, setting_of

_PANEL = "Reward"
_FINITE = Rule()


def _read_weights(value: str | Mapping[str, float]) -> Mapping[str, float]:
    from lmcot_train.rewards.weights import load_weights

    return load_weights(Path(value)) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class RewardOptions:
    """The parts of a reward; `memory` is a file that keeps the large LM's replies between sessions."""

    task_weight: float = setting(
        1.0, "Weight of R_task, whether the large LM is right.", rule=_FINITE, panel=_PANEL
    )
    aspects_weight: float = setting(
        0.5, "Weight of R_aspect, the mean of the eight aspects.", rule=_FINITE, panel=_PANEL
    )
    loop_penalty: float = setting(
        0.5, "Penalty for loops, times the share of words in them.", rule=_FINITE, panel=_PANEL
    )
    unfinished_penalty: float = setting(
        0.5, "Penalty for a rationale without an end.", rule=_FINITE, panel=_PANEL
    )
    unsupported_penalty: float = setting(
        0.25, "Penalty for an answer that the rationale does not support.", rule=_FINITE, panel=_PANEL
    )
    aspect_weights: Mapping[str, float] | None = setting(
        None,
        "Weights of the aspects, from `lmcot train fit-aspects`.",
        metavar="FILE",
        shown="equal weights",
        read=_read_weights,
        panel=_PANEL,
    )
    task_metric: Literal["em", "f1"] = setting(
        "em", "Measure of being right: em (exact match with a gold answer) or f1.", panel=_PANEL
    )
    max_answer_tokens: int = setting_of(AnswerOptions, "max_answer_tokens", typed=False)
    max_large_calls: int | None = setting(
        None,
        "Maximum prompts to send to the large LM; then the run ends, and a higher number continues it.",
        shown="no limit",
        rule=NOT_NEGATIVE,
        panel=_PANEL,
    )
    memory: Path | None = None

    def check(self) -> None:
        """Raise a UsageError that names every value that is not allowed."""
        check(self)

    def record(self) -> dict[str, Any]:
        """Return the settings for a run file, with the weights of all aspects."""
        from lmcot_train.rewards.aspects import EQUAL_WEIGHTS

        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "memory"}
        return own | {"aspect_weights": dict(self.aspect_weights or EQUAL_WEIGHTS)}
