"""The settings of answering and their defaults; the command line reads its defaults from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from lmcot_cli.backends.base import Role, Sampling, Thinking
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.engine_options import DEFAULT_PARALLEL, EngineOptions
from lmcot_cli.backends.naming import ModelName
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.answer_kinds import AnswerKind, parse_kind
from lmcot_cli.pipeline.answer_schema import Json
from lmcot_cli.pipeline.cost import FREE, Price, prices_of
from lmcot_cli.pipeline.error_limit import ErrorLimit, parse_error_limit
from lmcot_cli.pipeline.extract import NEXT_PART, has_answer
from lmcot_cli.pipeline.reading import compile_pattern
from lmcot_cli.pipeline.result import KeepRaw
from lmcot_cli.pipeline.stopping import StoppingRule, parse_stop
from lmcot_cli.pipeline.vote import VoteBy
from lmcot_cli.prompts.options import PromptOptions, ShotsBy, Stage
from lmcot_cli.prompts.truncation import Truncate

if TYPE_CHECKING:
    import regex

Method = Literal["standard", "cot", "guided"]

_SEVERAL_TEMPERATURE = 0.7
MOST_FINISHING_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How questions are answered.

    Attributes:
        method: `standard` (answer at once), `cot` (by the large LM's own chain) or `guided` (by a rationale).
        small: Model spec of the LM that writes rationales, and who named it; loaded for `guided` only.
        small_adapter: LoRA adapters of the small LM: GGUF files, as `FILE`, `NAME=FILE` or `NAME=FILE:SCALE`.
        large: Model spec of the LM that answers, and who named it.
        samples: Samples a row, whose answers are voted on.
        temperature: Of what is sampled (answers, chains or rationales); None takes 0, greedy, for one sample
            and 0.7 for several. The answer to a rationale is always greedy.
        top_p: Nucleus of what is sampled; plays no part at temperature 0.
        max_tokens: Tokens a rationale or a chain may take.
        max_answer_tokens: Tokens an answer of `standard` or `guided` may take.
        seed: Seed of the run; each sample's own seed follows from it, the row's id and the sample's index.
        limit: Rows to answer at most; None answers all.
        deterministic: Ask for one row a call, so that what a row gives depends on that row alone.
        stop: When a row has samples enough: `lossless`, `none`, `beta:CONFIDENCE` or `window:SIZE`.
        vote: What a sample's vote counts: one (`majority`), or the probability of its answer (`logprob`).
        max_tokens_total: Tokens the run may spend, prompts included; None sets no limit.
        deadline: Seconds the run may take; None sets no limit.
        max_cost: What the run may cost, by `prices`; None sets no limit.
        finish_within: Seconds that an interrupted run may take for the rows that it is near the end of.
        max_errors: Rows that may fail, `25` or `10%`, before the run is given up; None puts up with any number.
        given_rationales: For `guided`, take the rationale that came with the row; no small LM is loaded.
        prompts: Folder with templates that replace ours.
        thinking: Whether models are to think before they reply, where that can be chosen.
        small_thinking: The same for the small LM alone; None is `thinking`.
        large_thinking: The same for the large LM alone; None is `thinking`.
        max_thinking_tokens: Most tokens of a thought.
        keep_thinking: Keep the text of thoughts in the output.
        keep_raw: Replies to keep in the output as they came: `all`, `odd` or `none`.
        truncate: What to drop from a context that is too long: `none`, `paragraphs` or `relevance`.
        small_system: System message of the small LM, or a file that holds it.
        large_system: System message of the large LM, or a file that holds it.
        shots: Examples before each prompt.
        shots_from: File of the rows that they are made of.
        shots_by: How they are chosen.
        answer_kind: What an answer is: `text`, `span`, `yes-no`, `choice`, `number` or `json:SCHEMA`.
        choices: The answers to choose from for `choice`; empty takes those of each row.
        answer_regex: Regular expression that finds the answer in a reply; its first group, or the whole match.
        fields: Where rows of other layouts have what: pairs of our name and theirs.
        keep_columns: Columns of the input to keep in the output; `("*",)` keeps all.
        aliases: Names that stand for model specs.
        prices: What tokens cost, by model spec or alias.
        engine: Settings of local engines.
        endpoint: Settings of endpoints.
        settings_file: The settings file that these come from; None where none is in use.
    """

    method: Method = "guided"
    small: ModelName = "builtin:small"
    small_adapter: Sequence[str] = ()
    large: ModelName = "builtin:large"
    samples: int = 1
    temperature: float | None = None
    top_p: float = 0.95
    max_tokens: int = 256
    max_answer_tokens: int = 48
    seed: int = 0
    limit: int | None = None
    deterministic: bool = False
    stop: str = "lossless"
    vote: VoteBy = "majority"
    max_tokens_total: int | None = None
    deadline: float | None = None
    max_cost: float | None = None
    finish_within: float = 10.0
    max_errors: str | None = None
    given_rationales: bool = False
    prompts: Path | None = None
    thinking: Thinking = "off"
    small_thinking: Thinking | None = None
    large_thinking: Thinking | None = None
    max_thinking_tokens: int = 1024
    keep_thinking: bool = False
    keep_raw: KeepRaw = "odd"
    truncate: Truncate = "none"
    small_system: str | None = None
    large_system: str | None = None
    shots: int = 0
    shots_from: Path | None = None
    shots_by: ShotsBy = "first"
    answer_kind: str = "text"
    choices: tuple[str, ...] = ()
    answer_regex: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    keep_columns: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    engine: EngineOptions = field(default_factory=EngineOptions)
    endpoint: EndpointOptions = field(default_factory=EndpointOptions)
    settings_file: Path | None = None

    @property
    def rows(self) -> RowOptions:
        """How rows are read.

        Raises:
            UsageError: `--fields` names a part that rows do not have.
        """
        return RowOptions(self.fields, self.keep_columns)

    def check(self) -> None:
        """Refuse settings that cannot work together.

        Raises:
            UsageError: Names the option and what to type instead.
        """
        if self.method not in get_args(Method):
            raise UsageError(f"--method {self.method}: choose one of {', '.join(get_args(Method))}")
        _ = self.rows  # it raises where a name is not ours
        _ = self.kind, self.answer_pattern
        for option, value, kind in (
            ("keep-raw", self.keep_raw, KeepRaw),
            ("truncate", self.truncate, Truncate),
        ):
            if value not in get_args(kind):
                raise UsageError(f"--{option} {value}: choose one of {', '.join(get_args(kind))}")
        self._check_ranges()
        self.prompt_options.check()
        self._check_vote()
        if self.given_rationales and self.method != "guided":
            raise UsageError(
                f"--given-rationales needs --method guided; --method {self.method} reads no rationale"
            )
        if self.given_rationales and self.samples > 1:
            raise UsageError(
                f"--given-rationales has one rationale a row: use --samples 1, not {self.samples}"
            )
        if self.temperature == 0 and self.samples > 1:
            raise UsageError(
                f"--temperature 0 makes all {self.samples} samples alike: leave it out, or use --samples 1"
            )

    def _check_vote(self) -> None:
        _ = self.stopping, self.error_limit  # they raise where there is no such thing
        if self.vote not in get_args(VoteBy):
            raise UsageError(f"--vote {self.vote}: choose one of {', '.join(get_args(VoteBy))}")
        self._check_cost()
        if self.deterministic and self.deadline is not None:
            raise UsageError(
                "--deadline lets the clock decide what is drawn: leave out --deterministic, or it"
            )

    def _check_cost(self) -> None:
        if self.max_cost is None:
            return
        if not 0 < self.max_cost < float("inf"):
            raise UsageError(f"--max-cost {self.max_cost:g}: give a sum above 0")
        asked = ("small", "large") if self.method == "guided" and not self.given_rationales else ("large",)
        if all(prices_of(self)[role] == FREE for role in asked):
            raise UsageError(
                f"--max-cost: there is no price for {self.large}; write in lmcot.toml, per million tokens:"
                f' [prices] "{self.large}" = {{ prompt = 0.15, completion = 0.60 }}'
            )

    def _check_ranges(self) -> None:
        counts = {
            "samples": self.samples,
            "max-tokens": self.max_tokens,
            "max-answer-tokens": self.max_answer_tokens,
            "max-thinking-tokens": self.max_thinking_tokens,
        }
        counts |= {
            option: value
            for option, value in {"limit": self.limit, "max-tokens-total": self.max_tokens_total}.items()
            if value is not None
        }
        for option, value in counts.items():
            if value < 1:
                raise UsageError(f"--{option} {value}: give 1 or more")
        if not 0 <= self.finish_within <= MOST_FINISHING_SECONDS:
            raise UsageError(
                f"--finish-within {self.finish_within:g}: give seconds from 0 (stop at once) to"
                f" {MOST_FINISHING_SECONDS}"
            )
        if self.temperature is not None and not 0 <= self.temperature <= 10:
            raise UsageError(f"--temperature {self.temperature:g}: give a number from 0 (greedy) to 10")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"--top-p {self.top_p:g}: give a number above 0 and up to 1")

    @property
    def sampled_temperature(self) -> float:
        """The temperature of what is sampled, the default filled in."""
        if self.temperature is not None:
            return self.temperature
        return 0.0 if self.samples == 1 else _SEVERAL_TEMPERATURE

    @property
    def has_budget(self) -> bool:
        """Whether what the run may spend is limited."""
        return any((self.max_tokens_total, self.deadline, self.max_cost))

    @property
    def local_engine(self) -> EngineOptions:
        """The settings of local engines; a deterministic run leaves no width to a measurement."""
        if self.deterministic and self.engine.parallel is None:
            return replace(self.engine, parallel=DEFAULT_PARALLEL)
        return self.engine

    @property
    def stopping(self) -> StoppingRule:
        """The rule that `stop` names.

        Raises:
            UsageError: It names none.
        """
        return parse_stop(self.stop)

    @property
    def error_limit(self) -> ErrorLimit | None:
        """The limit that `max_errors` writes down.

        Raises:
            UsageError: It writes down none.
        """
        return None if self.max_errors is None else parse_error_limit(self.max_errors)

    @property
    def answer_sampling(self) -> Sampling:
        """Sampling of an answer drawn directly (`standard`); else as for `guided`."""
        return replace(self.guided_answer_sampling, temperature=self.sampled_temperature, top_p=self.top_p)

    @property
    def guided_answer_sampling(self) -> Sampling:
        """Sampling of the answer to a rationale: greedy, up to the line that holds it.

        No line end is a stop string: an introduction ("The port is:"), a label or a code fence may come before the
        answer, with a blank line between, and a base model begins with one. Where tokens are seen as they come, the
        reply ends with the line of the answer all the same; an endpoint's model ends by itself or at the limit, which
        is low. For an expression of one's own nobody knows where it will match.
        """
        sampling = self._sampling(
            "large", 0.0, 1.0, self.max_answer_tokens, stop=NEXT_PART, limit="--max-answer-tokens"
        )
        if self.answer_regex:
            return sampling
        kind = self.kind
        return replace(sampling, enough=kind.has_answer if isinstance(kind, Json) else has_answer)

    @property
    def chain_sampling(self) -> Sampling:
        """Sampling of a chain of thought, which may take several paragraphs."""
        return self._sampling("large", self.sampled_temperature, self.top_p, self.max_tokens, stop=NEXT_PART)

    @property
    def rationale_sampling(self) -> Sampling:
        """Sampling of a rationale, which ends where the model would go on to answer."""
        stop = (*NEXT_PART, "\nAnswer:")
        return self._sampling("small", self.sampled_temperature, self.top_p, self.max_tokens, stop=stop)

    @property
    def kind(self) -> AnswerKind:
        """What an answer is.

        Raises:
            UsageError: `answer_kind` or `choices` cannot be used.
        """
        return parse_kind(self.answer_kind, self.choices)

    @property
    def answer_pattern(self) -> regex.Pattern[str] | None:
        """The expression that finds answers, where there is one.

        Raises:
            UsageError: It is none.
        """
        return None if self.answer_regex is None else compile_pattern(self.answer_regex)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that a row goes through."""
        if self.method != "guided":
            return (self.method,)
        return ("guided_answer",) if self.given_rationales else ("guided_rationale", "guided_answer")

    @property
    def prompt_options(self) -> PromptOptions:
        """What models are asked beside the question."""
        return PromptOptions(
            self.prompts,
            self.shots,
            self.shots_from,
            self.shots_by,
            self.small_system,
            self.large_system,
            self.fields,
            lists_choices=self.answer_kind == "choice",
            choices=self.choices,
        )

    @property
    def files_read(self) -> dict[str, Path]:
        """Files beside the input that are read, by option; a system message may be text and none."""
        schema = self.answer_kind.removeprefix("json:") if self.answer_kind.startswith("json:") else None
        given = {
            "--shots-from": self.shots_from,
            "--small-system": self.small_system,
            "--large-system": self.large_system,
            "--answer": schema,
        }
        return {option: Path(file) for option, file in given.items() if file}

    @property
    def models(self) -> dict[Role, ModelName]:
        """The models that are asked, in the order in which they are."""
        asked: dict[Role, ModelName] = {"small": self.small} if "guided_rationale" in self.stages else {}
        return asked | {"large": self.large}

    def thinking_of(self, role: Role) -> Thinking:
        """Return whether a role's model is to think."""
        own = self.small_thinking if role == "small" else self.large_thinking
        return own or self.thinking

    def _sampling(
        self,
        role: Role,
        temperature: float,
        top_p: float,
        max_tokens: int,
        *,
        stop: tuple[str, ...],
        limit: str = "--max-tokens",
    ) -> Sampling:
        return Sampling(
            temperature,
            top_p,
            max_tokens,
            stop,
            limit,
            thinking=self.thinking_of(role),
            max_thinking_tokens=self.max_thinking_tokens,
        )
