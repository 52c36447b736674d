"""The settings of refining; the command line reads its defaults from here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from sys import maxsize
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.prompts.options import PromptOptions
from lmcot_cli.settings.declaration import (
    NOT_NEGATIVE,
    Given,
    Rule,
    build,
    check,
    declared,
    group,
    plain,
    setting,
)
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.rewards.options import RewardOptions

if TYPE_CHECKING:
    from lmcot_cli.config import Config

Algorithm: TypeAlias = Literal["ppo", "grpo"]
_LEARNING, _REWARD, _RUN = "Learning", "Reward", "Run"

_MOST_RANK = 65_536
"""More than the width of any model: an adapter of a higher rank learns nothing more."""

_FREE = frozenset({"updates", "minutes", "max_large_calls", "save_every", "tokens_per_pass"})
NOT_OF_REFINE = frozenset(
    {"keep_columns", "device", "dtype", "trust_remote_code", "flash_attention", "kv_type"}
)
"""Settings of the groups that do not apply to refining."""
_NOT_OF_GRPO = (
    "epochs", "epoch_kl", "value_rate", "value_clip", "value_weight", "entropy_weight", "discount", "trace",
    "leave_one_out", "advantage_floor", "kl_target", "kl_gain",
)  # fmt: skip


def free_settings(*, decays: bool) -> frozenset[str]:
    """Return the settings that may change when a run continues: they change how far and how fast, not what it learns.

    If the learning rates decay at the end, the number of updates changes what it learns, too.
    """
    return _FREE - {"updates"} if decays else _FREE


@dataclass(frozen=True, slots=True)
class RefineOptions:
    """What to refine, on what rows, and how.

    Attributes:
        questions: File of rows with gold answers.
        start: The run whose model is refined.
        output: The run to write.
        ppo: The settings of the algorithm; with GRPO some of them must keep their defaults.
        overwrite: Start the output anew.
        aliases: Names that stand for model specs.
        settings_file: The settings file that the aliases come from, if any.
    """

    questions: Path
    start: Path
    output: Path
    large: str = setting(
        "builtin:large", "Frozen LM that answers from the rationales.", metavar="SPEC", panel=_REWARD
    )
    algorithm: Algorithm = setting("ppo", "ppo, or grpo (through TRL, in one process).", panel=_LEARNING)
    ppo: PPOOptions = group(PPOOptions)
    lora_rank: int = setting(
        16,
        "Rank of the LoRA adapter that learns, on top of what the run has learned.",
        rule=Rule(least=1, most=_MOST_RANK),
        panel=_LEARNING,
    )
    full: bool = setting(False, "Train all weights instead of an adapter.", panel=_LEARNING)
    reward: RewardOptions = group(RewardOptions)
    prompting: PromptOptions = group(PromptOptions)
    held_out: int = setting(
        64,
        "Rows to validate on, which are not learned from; at most a fifth of all.",
        rule=NOT_NEGATIVE,
        panel=_RUN,
    )
    limit: int | None = setting(
        None, "Use the first N rows only.", metavar="N", shown="all rows", rule=Rule(least=1, most=maxsize)
    )
    rows: RowOptions = group(RowOptions)
    engine: EngineOptions = group(EngineOptions)
    endpoint: EndpointOptions = group(EndpointOptions)
    overwrite: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    settings_file: Path | None = None

    def check(self) -> None:
        """Raise a UsageError that names what cannot work, and what it may be."""
        check(self, *self._conflicts())
        self.ppo.check()
        self.reward.check()
        self.prompting.check()

    def _conflicts(self) -> Iterator[str]:
        if self.algorithm == "grpo":
            yield from self._conflicts_of_grpo()
        if self.output.resolve() == self.start.resolve():
            yield f"-o {self.output}: is the run to start from; choose another -o"

    def _conflicts_of_grpo(self) -> Iterator[str]:
        """Yield what GRPO would ignore, and batches that TRL cannot divide."""
        default, ppo = PPOOptions(), self.ppo
        unused = {name for name in _NOT_OF_GRPO if getattr(ppo, name) != getattr(default, name)}
        if unused:
            options = ", ".join(one.option for one in declared(PPOOptions).values() if one.field in unused)
            yield f"--algorithm grpo does not use {options}: omit them, or take --algorithm ppo"
        if ppo.samples < 2:
            yield f"--samples {ppo.samples}: give 2 or more with --algorithm grpo"
        if ppo.batch * ppo.samples % ppo.minibatches:
            yield (
                f"--minibatches {ppo.minibatches}: give a number that divides the {ppo.batch * ppo.samples}"
                " rationales of an update (--batch times --samples) with --algorithm grpo"
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings that change what is learned, for the run file."""
        own = ("algorithm", "lora_rank", "full", "held_out", "limit")
        parts = {name: getattr(self, name) for name in own} | asdict(self.ppo) | self.reward.record()
        parts |= {"fields": plain(self.rows.fields)} if self.rows.fields else {}
        elsewhere = {*free_settings(decays=self.ppo.decay > 0), "seed", "memory"}
        return {name: value for name, value in parts.items() if name not in elsewhere}

    def limits(self) -> dict[str, float | None]:
        """Return the limits that end a run, which may be raised to continue it; None is no limit."""
        ppo = self.ppo
        calls = self.reward.max_large_calls
        return {"updates": ppo.updates, "minutes": ppo.minutes, "max_large_calls": calls}


def from_settings(given: Given, config: Config, **own: Any) -> RefineOptions:
    """Build the options from given settings, a settings file (for its models) and the fields that are no settings.

    Raises:
        UsageError: Names all values that are wrong.
    """
    file = config.file.path if config.file else None
    return build(RefineOptions, given, aliases=config.models, settings_file=file, **own)
