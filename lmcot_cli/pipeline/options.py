"""The settings of answering and their defaults; the command line reads its defaults from here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lmcot_cli.backends.base import Role, Sampling, Thinking
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.engine_options import DEFAULT_PARALLEL, EngineOptions
from lmcot_cli.backends.naming import ModelName
from lmcot_cli.backends.specs import names_endpoint
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.errors import UsageError
from lmcot_cli.models.completion import complete_spec
from lmcot_cli.pipeline.answer_kinds import AnswerKind, parse_kind
from lmcot_cli.pipeline.answer_schema import Json
from lmcot_cli.pipeline.budget import parse_duration
from lmcot_cli.pipeline.cost import FREE, Price
from lmcot_cli.pipeline.error_limit import ErrorLimit, parse_error_limit
from lmcot_cli.pipeline.extract import NEXT_PART, has_answer
from lmcot_cli.pipeline.reading import compile_pattern
from lmcot_cli.pipeline.result import KeepRaw
from lmcot_cli.pipeline.stopping import StoppingRule, parse_stop
from lmcot_cli.pipeline.vote import VoteBy
from lmcot_cli.prompts.options import PromptOptions, Stage, role_of
from lmcot_cli.prompts.truncation import Truncate
from lmcot_cli.settings.declaration import (
    COUNT,
    POSITIVE,
    Given,
    Rule,
    changed,
    check,
    declared,
    group,
    plain,
    read_names,
    read_pairs,
    recorded,
    setting,
)

if TYPE_CHECKING:
    import regex

Method = Literal["standard", "cot", "guided"]

_SEVERAL_TEMPERATURE = 0.7

_model_setting = partial(setting, panel="Models")
_answer_setting = partial(setting, panel="Answer", changes_answers=True)
_thinking_setting = partial(setting, panel="Thinking")
_sampling_setting = partial(setting, panel="Sampling", changes_answers=True)
_spending_setting = partial(setting, panel="Spending", shown="no limit", in_file=None)


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How questions are answered.

    Attributes:
        aliases: Names that stand for model specs.
        prices: Prices of tokens, by model spec or alias.
        settings_file: The settings file that these come from; None where none is in use.
    """

    method: Method = setting(
        "guided",
        "standard: answer at once. cot: by the large LM's own chain. guided: by the small LM's rationale.",
        changes_answers=True,
        common=True,
    )
    small: ModelName = _model_setting(
        "builtin:small",
        "LM that writes rationales: a GGUF file, hf:ORG/REPO:FILE.gguf, a folder or hub id of transformers,"
        " openai:MODEL, http://HOST:PORT/v1#MODEL, a name of `models list` or lmcot.toml.",
        metavar="SPEC",
        complete=complete_spec,
        common=True,
    )
    small_adapter: Sequence[str] = _model_setting(
        (),
        "LoRA adapter (GGUF) to add to the small LM; give it again for several.",
        metavar="[NAME=]FILE[:SCALE]",
    )
    large: ModelName = _model_setting(
        "builtin:large",
        "LM that answers; named like the small one.",
        metavar="SPEC",
        complete=complete_spec,
        common=True,
    )
    small_option: tuple[str, ...] = _model_setting(
        (),
        "Engine or endpoint setting for the small LM alone, such as n_ctx=4096 or request_timeout=60; give it again"
        " for several.",
        metavar="NAME=VALUE",
        in_file=None,
    )
    large_option: tuple[str, ...] = _model_setting(
        (), "The same for the large LM.", metavar="NAME=VALUE", in_file=None
    )
    given_rationales: bool = _model_setting(
        False,
        "Answer from the rationale that each row brings; no small LM is loaded.",
        in_file=None,
        changes_answers=True,
    )
    prompting: PromptOptions = group(PromptOptions)
    answer_kind: str = _answer_setting(
        "text",
        "Kind of answer: text, span (words of the context, or yes or no), yes-no, choice, number, json:SCHEMA."
        " Local models, and endpoints that can, are held to it; votes are counted by value.",
        flag="--answer",
        metavar="KIND",
        common=True,
        changes_answers=False,  # the run file has it as `answer`, a schema by its digest
    )
    choices: tuple[str, ...] = _answer_setting(
        (),
        "Answers to choose from, for --answer choice.",
        metavar="A,B,...",
        shown="those of each row",
        read=read_names,
        in_file=list[str] | str,
    )
    answer_regex: str | None = _answer_setting(
        None,
        "Regular expression that finds the answer in a reply: the first group of the last match, or all of it.",
        metavar="REGEX",
    )
    keep_raw: KeepRaw = _answer_setting(
        "odd", "Replies to keep as they came. odd: those that are not word for word the rationale or answer."
    )
    rows: RowOptions = group(RowOptions)
    truncate: Truncate = setting(
        "none",
        "Paragraphs to drop from a context that is too long for the model: from the end (paragraphs), or the least"
        " relevant to the question first (relevance, by BM25). Each row says how many.",
        changes_answers=True,
        common=True,
        panel="Prompt",
    )
    thinking: Thinking = _thinking_setting(
        "off",
        "Whether models think before they reply, where that can be chosen. auto leaves it to the model.",
        common=True,
    )
    small_thinking: Thinking | None = _thinking_setting(
        None, "The same for the small LM alone.", shown="--thinking"
    )
    large_thinking: Thinking | None = _thinking_setting(
        None, "The same for the large LM alone.", shown="--thinking"
    )
    max_thinking_tokens: int = _thinking_setting(
        1024,
        "Maximum tokens per thought, in addition to the other limits.",
        metavar="N",
        rule=COUNT,
        changes_answers=True,
    )
    keep_thinking: bool = _thinking_setting(
        False, "Keep the text of thoughts in the output, not only their length.", changes_answers=True
    )
    samples: int = _sampling_setting(
        1, "Samples per row; their answers are voted on.", short="-k", rule=COUNT, common=True
    )
    stop: str = _sampling_setting(
        "lossless",
        "Rule for when a row has enough samples: lossless (the leader cannot be caught), none (draw all), beta:0.95"
        " (Adaptive-Consistency), window:5 (early-stopping self-consistency).",
        metavar="RULE",
    )
    vote: VoteBy = _sampling_setting(
        "majority",
        "Weight of a sample's vote: majority: one. logprob: the mean probability of its answer's tokens.",
    )
    temperature: float | None = _sampling_setting(
        None,
        "Temperature of rationales, chains or direct answers; 0 is greedy. Answers to rationales are always greedy.",
        shown="0 for one sample, 0.7 for several",
        rule=Rule(least=0, most=10),
        common=True,
    )
    top_p: float = _sampling_setting(
        0.95, "Sample from the likeliest tokens that hold this much probability.", rule=Rule(above=0, most=1)
    )
    seed: int = _sampling_setting(
        0,
        "Seed of the run; each sample's own seed follows from it, the row's id and the sample's index.",
        common=True,
    )
    max_tokens: int = _sampling_setting(
        256, "Maximum tokens per rationale or chain.", rule=COUNT, common=True
    )
    max_answer_tokens: int = _sampling_setting(48, "Maximum tokens per answer.", rule=COUNT, common=True)
    deterministic: bool = _sampling_setting(
        False, "One row per batch: slower, but the same bytes again on the same machine."
    )
    limit: int | None = setting(
        None,
        "Answer the first N rows only.",
        metavar="N",
        shown="all rows",
        rule=COUNT,
        in_file=None,
        common=True,
    )
    ids: tuple[str, ...] = setting(
        (),
        "Answer only the rows with these ids.",
        metavar="A,B,...",
        shown="all rows",
        read=read_names,
        in_file=None,
        panel="Data",
    )
    max_tokens_total: int | None = _spending_setting(
        None,
        "Tokens to spend, prompts included. They go where the vote is closest; what is in flight is finished.",
        metavar="N",
        rule=COUNT,
    )
    deadline: float | None = _spending_setting(
        None,
        "Time to spend: 90s, 10m, 1h30m. It goes where the vote is closest; what is in flight is finished.",
        metavar="TIME",
        read=parse_duration,
    )
    max_cost: float | None = _spending_setting(
        None,
        "Cost to spend, by the prices of the settings file. It goes where the vote is closest.",
        metavar="SUM",
        rule=POSITIVE,
    )
    finish_within: float = setting(
        10.0,
        "Seconds for the rows that are nearly done, after the first Ctrl-C or SIGTERM; 0 stops at once.",
        metavar="SECONDS",
        rule=Rule(least=0, most=3600),
        panel="Output",
    )
    max_errors: str | None = _spending_setting(
        None,
        "Stop when more rows fail than this, a share of them (5%) from the 20th row on; what is done is kept.",
        metavar="N|P%",
    )
    engine: EngineOptions = group(EngineOptions)
    endpoint: EndpointOptions = group(EndpointOptions)
    aliases: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    settings_file: Path | None = None

    def check(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            UsageError: Everything that is wrong, each with its option and what to type instead.
        """
        check(self, *self._unreadable(), *self._conflicts())
        self.prompt_options.check()

    def _unreadable(self) -> Iterator[str]:
        """Say which settings cannot be parsed."""
        reads: tuple[Callable[[], object], ...] = (
            lambda: self.kind,
            lambda: self.answer_pattern,
            lambda: self.stopping,
            lambda: self.error_limit,
            *(partial(self.engine_of, role) for role in self.models),
            *(partial(self.endpoint_of, role) for role in self.models),
        )
        for read in reads:
            try:
                read()
            except UsageError as error:
                yield str(error)

    def _conflicts(self) -> Iterator[str]:
        """Say which settings exclude each other."""
        if self.given_rationales and self.method != "guided":
            yield f"--given-rationales needs --method guided; --method {self.method} reads no rationale"
        if self.given_rationales and self.samples > 1:
            yield f"--given-rationales has one rationale per row: use --samples 1, not {self.samples}"
        if self.temperature == 0 and self.samples > 1:
            yield f"--temperature 0 makes all {self.samples} samples alike: leave it out, or use --samples 1"
        if self.deterministic and self.deadline is not None:
            yield "--deadline lets the clock decide which samples are drawn: leave out --deterministic or --deadline"
        if self.max_cost is not None and all(self.role_prices[role] == FREE for role in self.models):
            specs = (self.aliases.get(str(name), str(name)) for name in self.models.values())
            paid = any(map(names_endpoint, specs))
            why = "has no price" if paid else "runs on this machine and costs nothing"
            yield (
                f"--max-cost: {self.large} {why}; to give it a price, write in lmcot.toml, per million tokens:"
                f' [prices] "{self.large}" = {{ prompt = 0.15, completion = 0.60 }}'
            )

    @property
    def models(self) -> dict[Role, ModelName]:
        """The models that are asked, in that order."""
        asked: dict[Role, ModelName] = {"small": self.small} if "guided_rationale" in self.stages else {}
        return asked | {"large": self.large}

    def engine_of(self, role: Role) -> EngineOptions:
        """Return the engine settings for a role's model; raises UsageError if one of its own is invalid."""
        engine = changed(self.engine, self._settings_of(role))
        if self.deterministic and engine.parallel is None:  # nothing is left to a measurement
            return replace(engine, parallel=DEFAULT_PARALLEL)
        return engine

    def endpoint_of(self, role: Role) -> EndpointOptions:
        """Return the endpoint settings for a role's model; raises UsageError if one of its own is invalid."""
        return changed(self.endpoint, self._settings_of(role))

    def _settings_of(self, role: Role) -> Given:
        texts = self.small_option if role == "small" else self.large_option
        return read_pairs(texts, f"--{role}-option", EngineOptions, EndpointOptions)

    @property
    def role_prices(self) -> dict[Role, Price]:
        """The prices of the two models; one that the table does not name is free."""
        return {"small": self._price(self.small), "large": self._price(self.large)}

    def _price(self, name: ModelName) -> Price:
        spec = str(name)
        return self.prices.get(spec) or self.prices.get(self.aliases.get(spec, spec)) or FREE

    def recorded(self) -> dict[str, str | int | float | bool | None]:
        """Return the settings that change answers, as far as they are known before a model is loaded.

        How an engine batches and computes changes the last bits of its logits; only a deterministic run promises
        the same bytes again, so the engine's settings count only there. Those of endpoints are added by the run.
        """
        record = recorded(self)
        for name in recorded(self.endpoint):
            del record[name]
        record |= {
            "temperature": self.sampled_temperature,
            "small_thinking": self.thinking_of("small"),
            "large_thinking": self.thinking_of("large"),
            "answer": self.kind.name,
        }
        known = {**declared(EngineOptions), **declared(EndpointOptions)}
        for role in self.models:
            own = self._settings_of(role)
            counts = [name for name in own if self.deterministic or known[name].setting.changes_answers]
            record[f"{role}_option"] = (
                ",".join(f"{name}={plain(own[name])}" for name in sorted(counts)) or None
            )
        return (
            record | asdict(replace(self.engine, parallel=self.engine_of("large").parallel))
            if self.deterministic
            else record
        )

    @property
    def sampled_temperature(self) -> float:
        """The temperature of samples, with the default filled in."""
        if self.temperature is not None:
            return self.temperature
        return 0.0 if self.samples == 1 else _SEVERAL_TEMPERATURE

    @property
    def has_budget(self) -> bool:
        """Whether the run has a limit of tokens, time or cost."""
        return any((self.max_tokens_total, self.deadline, self.max_cost))

    @property
    def stopping(self) -> StoppingRule:
        """The rule that `stop` names; raises UsageError if it names none."""
        return parse_stop(self.stop)

    @property
    def error_limit(self) -> ErrorLimit | None:
        """The limit that `max_errors` states; raises UsageError if it states none."""
        return None if self.max_errors is None else parse_error_limit(self.max_errors)

    def sampling_of(self, stage: Stage) -> Sampling:
        """Return how the replies of a stage are sampled; the answer to a rationale is greedy.

        A chain may take several paragraphs; a rationale ends where the model would go on to answer. An answer ends with
        the line that holds it, but no line end is a stop string: an introduction ("The port is:"), a label or a code
        fence may come before it, with a blank line between, and a base model begins with one. Where tokens are seen as
        they come, `enough` ends the reply; an endpoint's model ends by itself or at the limit, which is low. Where an
        expression of the user's own (`answer_regex`) will match, nobody knows in advance.
        """
        is_answer, greedy = stage in ("standard", "guided_answer"), stage == "guided_answer"
        role = role_of(stage)
        return Sampling(
            temperature=0.0 if greedy else self.sampled_temperature,
            top_p=1.0 if greedy else self.top_p,
            max_tokens=self.max_answer_tokens if is_answer else self.max_tokens,
            stop=(*NEXT_PART, "\nAnswer:") if stage == "guided_rationale" else NEXT_PART,
            limit="--max-answer-tokens" if is_answer else "--max-tokens",
            thinking=self.thinking_of(role),
            max_thinking_tokens=self.max_thinking_tokens,
            enough=self._holds_answer if is_answer and not self.answer_regex else None,
        )

    @property
    def _holds_answer(self) -> Callable[[str], bool]:
        """Whether a reply holds an answer of the kind already."""
        kind = self.kind
        return kind.has_answer if isinstance(kind, Json) else has_answer

    @property
    def kind(self) -> AnswerKind:
        """The kind of answer; raises UsageError if `answer_kind` or `choices` cannot be used."""
        return parse_kind(self.answer_kind, self.choices)

    @property
    def answer_pattern(self) -> regex.Pattern[str] | None:
        """The expression that finds answers, if any; raises UsageError if it is not valid."""
        return None if self.answer_regex is None else compile_pattern(self.answer_regex)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that a row goes through."""
        if self.method != "guided":
            return (self.method,)
        return ("guided_answer",) if self.given_rationales else ("guided_rationale", "guided_answer")

    @property
    def prompt_options(self) -> PromptOptions:
        """The settings of prompts, with those of rows and answers that concern them."""
        return replace(
            self.prompting,
            fields=self.rows.fields,
            lists_choices=self.answer_kind == "choice",
            choices=self.choices,
        )

    @property
    def files_read(self) -> dict[str, Path]:
        """Files beside the input that are read, by option; a system message may be text instead of a file."""
        schema = self.answer_kind.removeprefix("json:") if self.answer_kind.startswith("json:") else None
        given = {
            "--shots-from": self.prompting.shots_from,
            "--small-system": self.prompting.small_system,
            "--large-system": self.prompting.large_system,
            "--answer": schema,
        }
        return {option: Path(file) for option, file in given.items() if file}

    def thinking_of(self, role: Role) -> Thinking:
        """Return whether a role's model should think."""
        own = self.small_thinking if role == "small" else self.large_thinking
        return own or self.thinking
