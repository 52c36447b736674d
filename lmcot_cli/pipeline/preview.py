"""What a run would ask and need, before any model is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lmcot_cli.backends.base import Request, Role
from lmcot_cli.backends.endpoint import address
from lmcot_cli.backends.endpoint.key import key_source
from lmcot_cli.backends.naming import ModelName, resolve_name
from lmcot_cli.backends.specs import check_model, gguf_file, names_endpoint
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.datasets.streams import source_name
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


@dataclass(frozen=True, slots=True)
class StagePreview:
    """One stage of the method.

    Attributes:
        stage: Its name.
        model: The spec of the model that it asks.
        request: The request of the first good row: system message, examples and prompt.
        requests: The most requests: rows times samples.
        tokens: Prompt tokens, estimated by their characters, and the most completion tokens, by their limit.
        cost: Their cost by the price table.
        memory: Peak memory of a process with this model alone, in bytes; None where it is no local GGUF file.
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
        rows: Rows that would be answered.
        bad: Rows that would fail at once.
        stages: The stages; none where no row is left.
        done: Rows that the output holds already.
        notes: Needs and gaps of the run: a download, a key, a price.
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
    """Read the input and render its prompts without asking a model.

    Args:
        source: The questions.
        options: How they would be answered.
        output: Results that the run would continue; whether they belong to it is not checked.
        retry_errors: Whether rows that failed in it would be answered again.

    Raises:
        UsageError: Settings that cannot work together, or a model spec that names no model.
        InputError: The input, or a file of the prompts, cannot be read, or no row can be answered.
        FirstRowsFailError: The first rows all fail alike.
        OutputError: The output cannot be read.
        ModelError: A model's file is missing.
    """
    options.check()
    prompts = PromptBuilder(options.prompt_options, options.stages)
    for role, model in options.models.items():
        check_model(model, role=role, aliases=options.aliases)
    rows = Rows(source, options.limit, options.rows, options.ids)
    preconditions = preconditions_of(options, prompts)
    if options.max_errors is None and not (output and output.is_file()):
        check_first(rows.first(FIRST_ROWS), preconditions, source_name(source))
    characters: dict[Stage, int] = dict.fromkeys(options.stages, 0)
    first: dict[Stage, Request] = {}
    good = bad = done = 0
    kept = _kept(output, retry_errors=retry_errors)
    for item in rows:
        if next(kept, False):
            done += 1
        elif isinstance(item, BadRow) or preconditions.failure(item):
            bad += 1
        else:
            good += 1
            for stage, request in _requests(item, prompts, options):
                characters[stage] += len(request.text)
                first.setdefault(stage, request)
    if not good and not done:
        raise InputError("no row can be answered: lmcot data inspect shows what is wrong")
    stages = (_stage(stage, request, good, characters[stage], options) for stage, request in first.items())
    return Preview(good, bad, tuple(stages), done, tuple(_run_notes(options)))


def _kept(output: Path | None, *, retry_errors: bool) -> Iterator[bool]:
    """Yield for each record of the output, which are in the order of the rows, whether it would be kept."""
    if output is None or not output.is_file():
        return
    try:
        with output.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):  # a torn line would be cut off
                    yield not (retry_errors and json.loads(line)["error"])
    except OSError as error:
        raise OutputError(f"{output}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OutputError(f"{output}: is not an output of lmcot: choose another -o") from error


def _run_notes(options: AnswerOptions) -> Iterator[str]:
    """Yield what to know about the run before it begins."""
    for one in destinations(options.models, options):
        yield f"the run {one}"
    if options.truncate != "none":  # contexts are counted whole here
        yield f"--truncate {options.truncate}: only a loaded model counts tokens; contexts are shown whole here"
    yield from dict.fromkeys(
        note for role, model in options.models.items() for note in _notes(role, model, options)
    )


def _notes(role: Role, model: ModelName, options: AnswerOptions) -> Iterator[str]:
    """Yield what to know about a model before it is asked."""
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


def _requests(row: Row, prompts: PromptBuilder, options: AnswerOptions) -> Iterator[tuple[Stage, Request]]:
    """Yield the request of each stage for a row."""
    rationale = row.rationale if options.given_rationales else _A_RATIONALE
    for stage in options.stages:
        yield stage, prompts.request(stage, row, rationale if stage == "guided_answer" else None)


def _stage(
    stage: Stage, request: Request, rows: int, characters: int, options: AnswerOptions
) -> StagePreview:
    if stage == "guided_answer" and not options.given_rationales:  # each prompt ends with a whole rationale
        characters += rows * options.max_tokens * CHARACTERS_A_TOKEN
    sampling, role = options.sampling_of(stage), role_of(stage)
    requests, model = rows * options.samples, options.models[role]
    tokens = TokenCounts(
        options.samples * characters // CHARACTERS_A_TOKEN,
        requests * sampling.room(sampling.thinking != "off"),
    )
    cost = options.role_prices[role].of(tokens)
    memory = _memory(model, role, options)
    return StagePreview(stage, str(model), request, requests, tokens, cost, memory)


def _memory(model: ModelName, role: Role, options: AnswerOptions) -> int | None:
    from lmcot_cli.backends.llama.memory import memory_estimate

    path = gguf_file(model, options.aliases)
    return None if path is None else memory_estimate(path, options.engine_of(role)).total
