"""What a run would ask, before any model is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lmcot_cli.backends.base import Request, Role
from lmcot_cli.backends.endpoint import address
from lmcot_cli.backends.endpoint.key import key_source
from lmcot_cli.backends.naming import ModelName, resolve_name
from lmcot_cli.backends.specs import check_model, gguf_file, names_endpoint
from lmcot_cli.datasets.reader import BadRow, source_name
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, OutputError
from lmcot_cli.models import catalogue, hub
from lmcot_cli.pipeline.alike import FIRST_ROWS, check_first
from lmcot_cli.pipeline.cost import FREE
from lmcot_cli.pipeline.destinations import destinations
from lmcot_cli.pipeline.methods import preconditions_of
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import TokenCounts
from lmcot_cli.pipeline.rows import Rows
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.options import Stage, role_of

CHARACTERS_A_TOKEN = 4
"""Of English text, about: https://help.openai.com says so of its models, and others differ by a third or so."""

_A_RATIONALE = "(the rationale that the small LM writes)"


class _Asked(NamedTuple):
    """A stage of the method: its template, and the most that may be written."""

    stage: Stage
    max_tokens: int

    @property
    def role(self) -> Role:
        """The role that is asked."""
        return role_of(self.stage)


@dataclass(frozen=True, slots=True)
class StagePreview:
    """One stage of the method.

    Attributes:
        stage: Its template.
        model: The spec of the model it asks.
        request: What it asks for the first good row: system message, examples and prompt.
        requests: Requests at most: rows by samples.
        tokens: Tokens: of prompts about so many, by their characters; of completions at most, by their limit.
        cost: What these cost by the price table.
        memory: Bytes that a process with this model alone takes at its peak; None for what is no GGUF file here.
    """

    stage: str
    model: str
    request: Request
    requests: int
    tokens: TokenCounts
    cost: float
    memory: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """A whole run.

    Attributes:
        rows: Rows that would be asked about.
        bad: Rows that would fail at once.
        stages: What each stage would ask; none where no row is left.
        done: Rows that the output holds already.
        notes: What the run would need or lack: a download, a key, a price.
    """

    rows: int
    bad: int
    stages: tuple[StagePreview, ...]
    done: int = 0
    notes: tuple[str, ...] = ()


def preview(
    source: Path | BinaryIO,
    options: AnswerOptions,
    output: Path | None = None,
    *,
    retry_errors: bool = False,
) -> Preview:
    """Read the input and render its prompts; ask nothing.

    Args:
        source: The questions.
        options: How they would be answered.
        output: Results that the run would go on from; whether they belong to it is not looked at.
        retry_errors: Answer those of its rows again that failed.

    Raises:
        UsageError: Settings that cannot work together, or a model spec that names no model.
        InputError: The input, or what prompts are made of, cannot be read, or none of its rows can be asked about.
        FirstRowsFailError: The first rows all fail alike.
        OutputError: The output cannot be read.
        ModelError: A model's file is not there.
    """
    options.check()
    prompts, asked = PromptBuilder(options.prompt_options, options.stages), _stages(options)
    for one in asked:
        check_model(_model(one, options), role=one.role, aliases=options.aliases)
    characters = dict.fromkeys(asked, 0)
    first: dict[_Asked, Request] = {}
    good = bad = done = 0
    kept = _kept(output, retry_errors=retry_errors)
    rows, preconditions = Rows(source, options.limit, options.rows), preconditions_of(options, prompts)
    if options.max_errors is None and not (output and output.is_file()):
        check_first(rows.first(FIRST_ROWS), preconditions, source_name(source))
    for item in rows:
        if next(kept, False):
            done += 1
            continue
        if isinstance(item, BadRow) or preconditions.failure(item):
            bad += 1
            continue
        good += 1
        for one, request in _rendered(item, asked, prompts, options):
            characters[one] += len(request.text)
            first.setdefault(one, request)
    if not good and not done:
        raise InputError("no row can be asked about: see what is wrong with lmcot data inspect")
    stages = (_stage(one, first[one], good, characters[one], options) for one in asked if one in first)
    asks = (f"the run {one}" for one in destinations(options.models, options))
    notes = dict.fromkeys(note for one in asked for note in _notes(one.role, _model(one, options), options))
    return Preview(good, bad, tuple(stages), done, (*asks, *_truncation(options), *notes))


def _kept(output: Path | None, *, retry_errors: bool) -> Iterator[bool]:
    """Yield of each record of the output, which has them in the order of the rows, whether it stands."""
    if output is None or not output.is_file():
        return
    try:
        with output.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):  # what is torn is written anew
                    yield not (retry_errors and json.loads(line)["error"])
    except OSError as error:
        raise OutputError(f"{output}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OutputError(f"{output}: is no output of lmcot: choose another -o") from error


def _truncation(options: AnswerOptions) -> list[str]:
    """Say that contexts are counted whole here, where they would be cut to what a model has room for."""
    if options.truncate == "none":
        return []
    return [
        f"--truncate {options.truncate}: only a model that is loaded counts tokens; contexts stand here whole"
    ]


def _notes(role: Role, model: ModelName, options: AnswerOptions) -> Iterator[str]:
    """Say what there is to know of a model before it is asked."""
    named = resolve_name(model, options.aliases)
    resolved = named.spec
    if resolved.startswith(hub.SCHEME) and hub.find(hub.parse(resolved)) is None:
        size = next(
            (f" ({catalogue.readable_size(e.size)})" for e in catalogue.CATALOGUE if e.hub_spec == resolved),
            "",
        )
        yield f"{model}: will be downloaded{size}"
    if not names_endpoint(resolved) or (place := address.parse(resolved, named.by)).loopback:
        return
    key = key_source(place, options.endpoint_of(role))
    if not (place.plain or key.there):
        yield f"{key.variable} is not set"
    if options.role_prices[role] is FREE:
        yield f"no price for {model}: write [prices] in lmcot.toml"


def _stages(options: AnswerOptions) -> list[_Asked]:
    """Return the stages; one that ends in an answer alone has a limit of its own, and a thought another."""
    chains: tuple[Stage, ...] = ("cot", "guided_rationale")
    return [
        _Asked(
            stage,
            (options.max_tokens if stage in chains else options.max_answer_tokens)
            + (options.max_thinking_tokens if options.thinking_of(role_of(stage)) != "off" else 0),
        )
        for stage in options.stages
    ]


def _rendered(
    row: Row, asked: list[_Asked], prompts: PromptBuilder, options: AnswerOptions
) -> list[tuple[_Asked, Request]]:
    """Return the requests of a row."""
    rationale = row.rationale if options.given_rationales else _A_RATIONALE
    return [
        (one, prompts.request(one.stage, row, rationale if one.stage == "guided_answer" else None))
        for one in asked
    ]


def _stage(one: _Asked, request: Request, rows: int, characters: int, options: AnswerOptions) -> StagePreview:
    read = characters
    if (
        one.stage == "guided_answer" and not options.given_rationales
    ):  # each prompt ends with a whole rationale
        read += rows * options.max_tokens * CHARACTERS_A_TOKEN
    tokens = TokenCounts(
        options.samples * read // CHARACTERS_A_TOKEN, options.samples * rows * one.max_tokens
    )
    model = _model(one, options)
    return StagePreview(
        stage=one.stage,
        model=str(model),
        request=request,
        requests=rows * options.samples,
        tokens=tokens,
        cost=options.role_prices[one.role].of(tokens),
        memory=_memory(model, one.role, options),
    )


def _model(one: _Asked, options: AnswerOptions) -> ModelName:
    return options.small if one.role == "small" else options.large


def _memory(model: ModelName, role: Role, options: AnswerOptions) -> int | None:
    from lmcot_cli.backends.llama.memory import memory_estimate

    path = gguf_file(model, options.aliases)
    return None if path is None else memory_estimate(path, options.engine_of(role)).total
