"""Answer rows from Python, and open models for other uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from lmcot.row_stream import RowStream
from lmcot_cli.backends import specs
from lmcot_cli.backends.base import Backend
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import RowError, UsageError
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Result
from lmcot_cli.settings.declaration import build, declared

Rows: TypeAlias = Iterable[Mapping[str, Any] | Row] | Path | str
"""Rows as dicts in any layout that `lmcot answer` reads, as `Row`, or the path of a file of them."""


def answer(
    rows: Rows,
    options: AnswerOptions | None = None,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
    retry_errors: bool = False,
    **settings: Any,
) -> Iterator[Result]:
    """Answer rows; yield the result of each in their order, as soon as it is known.

    Rows are consumed as they are needed, so they may come from a generator. A row that fails has its error in
    `Result.error` and does not stop the others. Closing the iterator ends the run.

    Args:
        rows: The questions.
        options: How they are answered; None takes the defaults.
        output: File that keeps the results. Another call with the same settings continues where this one ended, and
            yields only the rest.
        overwrite: Start the output anew.
        retry_errors: Answer the rows again that failed in the output.
        settings: Single settings in place of `options`, named as the options of `lmcot answer` (`samples=5`,
            `max_tokens=128`, `n_ctx=4096`), except for `answer_kind` (`--answer`) and `request_fields`
            (`--request-field`).

    Raises:
        UsageError: Settings that do not exist or cannot work together.
        InputError: There is no row, or one cannot be written as JSON.
        ModelError: A model cannot be found, loaded or reached.
        OutputError: The output cannot be written, or holds results of other settings.
    """
    run = AnswerRun(
        _source(rows),
        _options(options, settings),
        Path(output) if output else None,
        overwrite=overwrite,
        retry_errors=retry_errors,
    )
    return _results(run)


def _results(run: AnswerRun) -> Iterator[Result]:
    with closing(run.results()) as results:
        yield from results


def _source(rows: Rows) -> Path | BinaryIO:
    if isinstance(rows, Mapping | Row):
        raise UsageError("one row is not a list of rows: give [row], or use answer_one")
    if not isinstance(rows, Path | str):
        return cast("BinaryIO", RowStream(rows).buffered())
    if isinstance(rows, str) and not Path(rows).exists():
        raise UsageError(
            f"there is no file {rows!r}: give the path of one, a list of rows, or use answer_one"
        )
    return Path(rows)


def answer_one(
    question: str,
    context: str | Iterable[str] = "",
    options: AnswerOptions | None = None,
    **settings: Any,
) -> Result:
    """Answer one question; for several, `answer` loads the models once.

    Args:
        question: The question.
        context: The text, or the paragraphs, that the answer should be found in.
        options: How it is answered; None takes the defaults.
        settings: Single settings in place of `options`; see `answer`.

    Raises:
        RowError: The question could not be answered; the message says why.
        UsageError, ModelError: See `answer`.
    """
    paragraphs = context if isinstance(context, str) else list(context)
    (result,) = answer([{"id": "1", "question": question, "context": paragraphs}], options, **settings)
    if result.error:
        raise RowError(result.error.message)
    return result


def open_model(spec: str, **settings: Any) -> Backend:
    """Open a model by its spec, as `--small` and `--large` do; close it, or use it in a `with` block.

    Args:
        spec: A GGUF file, a folder, `hf:ORG/REPO:FILE.gguf`, `openai:MODEL`, `http://HOST:PORT/v1#MODEL`, a name of
            `lmcot models list`, or `builtin:small`.
        settings: Engine and endpoint settings, named as the options of `lmcot answer` (`n_ctx`, `threads`, `rpm`).

    Raises:
        UsageError: A setting that does not exist, or a spec that names no model.
        ModelError: The model cannot be found, loaded or reached.
    """
    _check_names(settings, EngineOptions, EndpointOptions)
    engine, endpoint = build(EngineOptions, settings), build(EndpointOptions, settings)
    return specs.open_model(spec, role="large", aliases={}, options=engine, endpoint=endpoint)


def _options(options: AnswerOptions | None, settings: Mapping[str, Any]) -> AnswerOptions:
    if options is None:
        _check_names(settings, AnswerOptions)
        options = build(AnswerOptions, settings)
    elif settings:
        raise UsageError(f"give options, or single settings ({', '.join(settings)}), not both")
    options.check()
    return options


def _check_names(settings: Mapping[str, Any], *kinds: type) -> None:
    known = {name for kind in kinds for name in declared(kind)}
    for name in settings:
        if name not in known:
            near = get_close_matches(name, sorted(known), n=3)
            meant = f"did you mean {' or '.join(near)}" if near else f"there are {', '.join(sorted(known))}"
            raise UsageError(f"no such setting: {name}; {meant}")
