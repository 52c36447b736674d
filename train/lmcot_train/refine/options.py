"""The settings of refining; the command line reads its defaults from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.errors import UsageError
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.rewards.reward import RewardOptions

Algorithm: TypeAlias = Literal["ppo", "grpo"]

_FREE = ("updates", "minutes", "save_every", "tokens_per_pass")
"""Settings of PPO that may differ when a run goes on: they change how far and how fast, not what is learned."""


@dataclass(frozen=True, slots=True)
class RefineOptions:
    """What to refine, on what, by what.

    Attributes:
        questions: File of rows with gold answers.
        start: The run whose model is refined.
        output: The run to write.
        large: Model spec of the frozen LM that answers.
        algorithm: `ppo` or `grpo`.
        lora_rank: Rank of the LoRA adapter that learns; it comes on top of what the run had learned.
        full: Train all weights instead of an adapter.
        held_out: Rows kept for validation, a fifth of all at most; 0: none.
        limit: Rows to use at most; None: all.
        overwrite: Start the output anew.
        prompts: Folder with templates that replace ours.
        aliases: Names that stand for model specs.
        engine: Settings of local engines.
        ppo: The settings of the algorithm; GRPO reads those of the same name.
        reward: What a rationale is worth.
    """

    questions: Path
    start: Path
    output: Path
    large: str = "builtin:large"
    algorithm: Algorithm = "ppo"
    lora_rank: int = 16
    full: bool = False
    held_out: int = 64
    limit: int | None = None
    overwrite: bool = False
    prompts: Path | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    engine: EngineOptions = field(default_factory=EngineOptions)
    ppo: PPOOptions = field(default_factory=PPOOptions)
    reward: RewardOptions = field(default_factory=RewardOptions)

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            UsageError: Names the option and what it may be.
        """
        self.ppo.check()
        if self.lora_rank < 1:
            raise UsageError(f"--lora-rank {self.lora_rank}: give 1 or more")
        if self.held_out < 0:
            raise UsageError(f"--held-out {self.held_out}: give 0 or more")
        if self.output.resolve() == self.start.resolve():
            raise UsageError(f"-o {self.output}: is the run to start from; choose another -o")

    def settings(self) -> dict[str, Any]:
        """Return what changes what is learned, as the run file holds it."""
        ppo = {name: value for name, value in asdict(self.ppo).items() if name not in (*_FREE, "seed")}
        reward = asdict(self.reward)
        own = ("algorithm", "lora_rank", "full", "held_out", "limit")
        return {
            **{name: getattr(self, name) for name in own},
            **ppo,
            **{name: reward[name] for name in reward if name not in ("max_large_calls", "memory")},
        }


def from_settings(settings: Mapping[str, Any], aliases: Mapping[str, str]) -> RefineOptions:
    """Build the options from a flat table of settings; what is None or not there keeps its default.

    Args:
        settings: Fields of `RefineOptions` and of the dataclasses in it, by name; anything else is passed over.
        aliases: Names that stand for model specs.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    return RefineOptions(
        **_fields(RefineOptions, given),
        aliases=aliases,
        engine=EngineOptions(**_fields(EngineOptions, given)),
        ppo=PPOOptions(**_fields(PPOOptions, given)),
        reward=RewardOptions(**_fields(RewardOptions, given)),
    )


def _fields(kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: given[field.name] for field in fields(kind) if field.name in given}
