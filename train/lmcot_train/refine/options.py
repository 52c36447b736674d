"""The settings of refining; the command line reads its defaults from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from sys import maxsize
from typing import Any, Literal, TypeAlias

from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.config import Config
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.errors import UsageError
from lmcot_cli.prompts.options import PromptOptions
from lmcot_train.ppo.options import PPOOptions, option_of
from lmcot_train.rewards.reward import RewardOptions

Algorithm: TypeAlias = Literal["ppo", "grpo"]

_MOST_RANK = 65_536
"""More than any model is wide: an adapter of a higher rank learns nothing more."""

_FREE = frozenset({"updates", "minutes", "max_large_calls", "save_every", "tokens_per_pass"})
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
        large: Model spec of the frozen LM that answers.
        algorithm: `ppo` or `grpo`.
        lora_rank: Rank of the LoRA adapter that learns; it comes on top of what the run had learned.
        full: Train all weights instead of an adapter.
        held_out: Rows kept for validation, a fifth of all at most; 0: none.
        limit: Rows to use at most; None: all.
        fields: Where rows have what, as `OURS=THEIRS,...`.
        overwrite: Start the output anew.
        prompting: What both models are asked beside the question, as `lmcot answer` is to ask them.
        aliases: Names that stand for model specs.
        engine: Settings of local engines.
        ppo: The settings of the algorithm; GRPO has no use for some of them, which keep their defaults then.
        reward: What a rationale is worth.
        endpoint: Settings of endpoints.
        settings_file: The settings file that the aliases come from; None where none is in use.
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
    fields: str | None = None
    overwrite: bool = False
    prompting: PromptOptions = field(default_factory=PromptOptions)
    aliases: Mapping[str, str] = field(default_factory=dict)
    engine: EngineOptions = field(default_factory=EngineOptions)
    ppo: PPOOptions = field(default_factory=PPOOptions)
    reward: RewardOptions = field(default_factory=RewardOptions)
    endpoint: EndpointOptions = field(default_factory=EndpointOptions)
    settings_file: Path | None = None

    @property
    def rows(self) -> RowOptions:
        """How rows are read.

        Raises:
            UsageError: `fields` cannot be read.
        """
        return RowOptions.parse(self.fields)

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            UsageError: Names the option and what it may be.
        """
        self.ppo.check()
        self.reward.check()
        self.prompting.check()
        _ = self.rows  # it raises where a name is not ours
        if self.algorithm == "grpo":
            self._check_grpo()
        if not 1 <= self.lora_rank <= _MOST_RANK:
            raise UsageError(f"--lora-rank {self.lora_rank}: give 1 to {_MOST_RANK}")
        if self.held_out < 0:
            raise UsageError(f"--held-out {self.held_out}: give 0 or more")
        if self.limit is not None and not 1 <= self.limit <= maxsize:
            raise UsageError(f"--limit {self.limit}: give 1 or more, or leave it out for all rows")
        if self.output.resolve() == self.start.resolve():
            raise UsageError(f"-o {self.output}: is the run to start from; choose another -o")

    def _check_grpo(self) -> None:
        """Refuse what GRPO would pass over, and batches that TRL cannot cut up."""
        default, ppo = PPOOptions(), self.ppo
        unused = [name for name in _NOT_OF_GRPO if getattr(ppo, name) != getattr(default, name)]
        if unused:
            options = ", ".join(option_of(name) for name in unused)
            raise UsageError(f"--algorithm grpo has no use for {options}: leave out, or take --algorithm ppo")
        if ppo.samples < 2:
            raise UsageError(f"--samples {ppo.samples}: give 2 or more with --algorithm grpo")
        if ppo.batch * ppo.samples % ppo.minibatches:
            raise UsageError(
                f"--minibatches {ppo.minibatches}: give a number that divides the {ppo.batch * ppo.samples}"
                " rationales of an update (--batch times --samples) with --algorithm grpo"
            )

    def settings(self) -> dict[str, Any]:
        """Return what changes what is learned, as the run file holds it."""
        own = ("algorithm", "lora_rank", "full", "held_out", "limit")
        parts = {name: getattr(self, name) for name in own} | asdict(self.ppo) | asdict(self.reward)
        parts |= {"fields": self.fields} if self.fields else {}
        elsewhere = {*free_settings(decays=self.ppo.decay > 0), "seed", "memory"}
        return {name: value for name, value in parts.items() if name not in elsewhere}

    def limits(self) -> dict[str, float | None]:
        """Return what ends a run, which may be raised to go on with it; None is no limit."""
        ppo = self.ppo
        calls = self.reward.max_large_calls
        return {"updates": ppo.updates, "minutes": ppo.minutes, "max_large_calls": calls}


def from_settings(settings: Mapping[str, Any], config: Config) -> RefineOptions:
    """Build the options from a flat table of settings; what is None or not there keeps its default.

    Args:
        settings: Fields of `RefineOptions` and of the dataclasses in it, by name; anything else is passed over.
        config: The settings file; what it says of `lmcot answer` plays no part here.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    return RefineOptions(
        **_fields(RefineOptions, given),
        aliases=config.models,
        settings_file=config.file.path if config.file else None,
        prompting=PromptOptions(**_fields(PromptOptions, given)),
        engine=EngineOptions(**_fields(EngineOptions, given)),
        ppo=PPOOptions(**_fields(PPOOptions, given)),
        reward=RewardOptions(**_fields(RewardOptions, given)),
    )


def _fields(kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: given[field.name] for field in fields(kind) if field.name in given}
