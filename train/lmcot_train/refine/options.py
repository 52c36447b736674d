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
"""More than any model is wide: an adapter of a higher rank learns nothing more."""

_FREE = frozenset({"updates", "minutes", "max_large_calls", "save_every", "tokens_per_pass"})
NOT_OF_REFINE = frozenset(
    {"keep_columns", "device", "dtype", "trust_remote_code", "flash_attention", "kv_type"}
)
"""Settings of the groups that refining has no use for."""
_NOT_OF_GRPO = (
    "epochs", "epoch_kl", "value_rate", "value_clip", "value_weight", "entropy_weight", "discount", "trace",
    "leave_one_out", "advantage_floor", "kl_target", "kl_gain",
)  # fmt: skip


def free_settings(*, decays: bool) -> frozenset[str]:
    """Return the settings that may differ when a run goes on: they change how far and how fast, not what is learned.

    Args:
        decays: Whether learning rates fall at the end, which the number of updates then counts for.
    """
    return _FREE - {"updates"} if decays else _FREE


@dataclass(frozen=True, slots=True)
class RefineOptions:
    """What to refine, on what, by what.

    Attributes:
        questions: File of rows with gold answers.
        start: The run whose model is refined.
        output: The run to write.
        overwrite: Start the output anew.
        aliases: Names that stand for model specs.
        settings_file: The settings file that the aliases come from; None where none is in use.
        ppo: The settings of the algorithm; GRPO has no use for some of them, which keep their defaults then.
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
        "Rank of the LoRA adapter that learns, on top of what the run had learned.",
        rule=Rule(least=1, most=_MOST_RANK),
        panel=_LEARNING,
    )
    full: bool = setting(False, "Train all weights, not an adapter.", panel=_LEARNING)
    reward: RewardOptions = group(RewardOptions)
    prompting: PromptOptions = group(PromptOptions)
    held_out: int = setting(
        64, "Rows to validate on, not learned from; a fifth of all at most.", rule=NOT_NEGATIVE, panel=_RUN
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
        """Refuse what cannot work.

        Raises:
            UsageError: Names the option and what it may be.
        """
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
        """Say what GRPO would pass over, and which batches TRL cannot cut up."""
        default, ppo = PPOOptions(), self.ppo
        unused = {name for name in _NOT_OF_GRPO if getattr(ppo, name) != getattr(default, name)}
        if unused:
            options = ", ".join(one.option for one in declared(PPOOptions).values() if one.field in unused)
            yield f"--algorithm grpo has no use for {options}: leave out, or take --algorithm ppo"
        if ppo.samples < 2:
            yield f"--samples {ppo.samples}: give 2 or more with --algorithm grpo"
        if ppo.batch * ppo.samples % ppo.minibatches:
            yield (
                f"--minibatches {ppo.minibatches}: give a number that divides the {ppo.batch * ppo.samples}"
                " rationales of an update (--batch times --samples) with --algorithm grpo"
            )

    def settings(self) -> dict[str, Any]:
        """Return what changes what is learned, as the run file holds it."""
        own = ("algorithm", "lora_rank", "full", "held_out", "limit")
        parts = {name: getattr(self, name) for name in own} | asdict(self.ppo) | self.reward.record()
        parts |= {"fields": plain(self.rows.fields)} if self.rows.fields else {}
        elsewhere = {*free_settings(decays=self.ppo.decay > 0), "seed", "memory"}
        return {name: value for name, value in parts.items() if name not in elsewhere}

    def limits(self) -> dict[str, float | None]:
        """Return what ends a run, which may be raised to go on with it; None is no limit."""
        ppo = self.ppo
        calls = self.reward.max_large_calls
        return {"updates": ppo.updates, "minutes": ppo.minutes, "max_large_calls": calls}


def from_settings(given: Given, config: Config, **own: Any) -> RefineOptions:
    """Build the options from what was typed or stands in a file.

    Args:
        given: The settings, by name.
        config: The settings file; what it says of `lmcot answer` plays no part here.
        own: The fields of `RefineOptions` that are no settings.

    Raises:
        UsageError: Everything that is wrong with the values.
    """
    file = config.file.path if config.file else None
    return build(RefineOptions, given, aliases=config.models, settings_file=file, **own)
