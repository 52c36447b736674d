"""Answer a stream of rows: rows in, waves of several rows a backend call, results out in input order."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from lmcot_cli.backends.base import Backend
from lmcot_cli.backends.specs import open_model
from lmcot_cli.datasets.reader import STDIN, BadRow, at_least_one, read_rows, source_name
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import OutputError, RowError, UsageError
from lmcot_cli.pipeline.duplicates import mark_duplicates
from lmcot_cli.pipeline.journal import INSTEAD, Journal
from lmcot_cli.pipeline.methods import Draw, Drawn, build_method
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Failure, Result
from lmcot_cli.pipeline.run_file import RunFile, Settings, Totals
from lmcot_cli.pipeline.vote import count_votes
from lmcot_cli.prompts.render import Prompts

T = TypeVar("T")


class AnswerRun:
    """One run over one input, with or without an output file.

    Attributes:
        totals: The sums over the rows that have their record, those of earlier sessions included.
        resumed: Rows that earlier sessions had finished.
    """

    def __init__(
        self,
        source: Path | BinaryIO,
        options: AnswerOptions,
        output: Path | None = None,
        *,
        overwrite: bool = False,
        command: tuple[str, ...] = (),
    ) -> None:
        self.source, self.options = source, options
        self.output, self.overwrite, self.command = output, overwrite, command
        self.totals = Totals()
        self.resumed = 0

    def results(self) -> Generator[Result, None, None]:
        """Answer the rows that have no record yet; yield each result once it is in the output.

        Input and output are looked at before a model loads. Closing the iterator early keeps what is done.

        Raises:
            UsageError: Settings that cannot work together, or a model spec that names no model.
            InputError: The input cannot be read or holds no row.
            OutputError: The output cannot be written, or holds results that these settings do not go on from.
            ModelError: A model cannot be loaded or run.
        """
        self.options.check()
        if self.overwrite and self.output is None:
            raise UsageError("--overwrite needs -o OUT, the output to start anew")
        prompts = Prompts(self.options.prompts)
        with ExitStack() as stack:
            items = self._items()
            items = chain([next(items)], items)
            journal = self._open_journal(stack, prompts)
            small, large = self._open_models(stack)
            if journal:
                journal.begin(self._run_file(prompts, small, large))
                self._skip_finished(items, journal)
            yield from self._answer(items, build_method(self.options, prompts, small, large), journal)

    def _items(self) -> Iterator[Row | BadRow]:
        rows = mark_duplicates(at_least_one(read_rows(self.source), self.source))
        return islice(rows, self.options.limit)

    def _open_journal(self, stack: ExitStack, prompts: Prompts) -> Journal | None:
        if self.output is None:
            return None
        if _same_file(self.source, self.output):
            raise UsageError(f"-o {self.output}: is the input itself; choose another -o")
        journal = stack.enter_context(Journal(self.output, overwrite=self.overwrite))
        journal.check(method_settings(self.options, prompts))
        return journal

    def _open_models(self, stack: ExitStack) -> tuple[Backend | None, Backend]:
        options, small = self.options, None
        if options.method == "guided" and not options.given_rationales:
            small = stack.enter_context(
                open_model(
                    options.small,
                    role="small",
                    aliases=options.aliases,
                    options=options.engine,
                    adapters=options.small_adapter,
                )
            )
        large = stack.enter_context(
            open_model(options.large, role="large", aliases=options.aliases, options=options.engine)
        )
        return small, large

    def _run_file(self, prompts: Prompts, small: Backend | None, large: Backend) -> RunFile:
        settings = {
            **method_settings(self.options, prompts),
            **model_settings("small", small),
            **model_settings("large", large),
        }
        return RunFile(self.command, source_name(self.source), settings, asdict(self.options.engine))

    def _skip_finished(self, items: Iterator[Row | BadRow], journal: Journal) -> None:
        """Walk earlier sessions' records and the input side by side, up to the first row to answer.

        Raises:
            OutputError: They do not belong together; names the line and both ids.
        """
        for line, record in journal.records():
            item = next(items, None)
            place = f"{self.output}:{line}: holds the result of row {record['id']!r}"
            if item is None:
                limit = " with this --limit" if self.options.limit else ""
                raise OutputError(
                    f"{place}, but the input has only {line - 1} rows{limit}: give the same input, or {INSTEAD}"
                )
            if item.id != record["id"]:
                raise OutputError(f"{place}, but the input has row {item.id!r} there: {INSTEAD}")
            if item.question != record["question"]:
                raise OutputError(f"{place}, whose question is another in the input: {INSTEAD}")
        self.totals, self.resumed = journal.totals, journal.totals.rows

    def _answer(self, items: Iterable[Row | BadRow], draw: Draw, journal: Journal | None) -> Iterator[Result]:
        for wave in _waves(items, self.options.wave_rows):
            for result in answer_wave(wave, draw, self.options.method):
                if journal:
                    journal.append(result)
                self.totals += Totals.of(result.to_record())
                yield result
        if journal:
            journal.finish()


def answer_wave(wave: list[Row | BadRow], draw: Draw, method: str) -> Iterator[Result]:
    """Answer the good rows of a wave in one call of the method; yield the results of all, in order."""
    rows = [item for item in wave if isinstance(item, Row)]
    drawn = iter(draw(rows) if rows else ())
    for item in wave:
        if isinstance(item, BadRow):
            failure = Failure.of(item.error, unnamed="bad_row")
            yield Result(item.id, item.question, method, error=failure, line=item.line)
        else:
            yield _result(item, next(drawn), method)


def _result(row: Row, drawn: Drawn | RowError, method: str) -> Result:
    if isinstance(drawn, RowError):
        return Result(
            row.id, row.question, method, row.answers, row.type, error=Failure.of(drawn), line=row.line
        )
    vote = count_votes([sample.answer for sample in drawn.samples])
    return Result(
        id=row.id,
        question=row.question,
        method=method,
        gold=row.answers,
        type=row.type,
        answer=vote.answer,
        agreement=vote.agreement,
        votes=vote.votes,
        samples=drawn.samples,
        usage=drawn.usage,
        line=row.line,
    )


def method_settings(options: AnswerOptions, prompts: Prompts) -> Settings:
    """Return the settings that change answers, as far as they are known before a model is loaded.

    How an engine batches and computes changes the last bits of its logits; only a deterministic run promises
    to be the same again, so only there it counts.
    """
    settings: dict[str, str | int | float | bool | None] = {
        "method": options.method,
        "samples": options.samples,
        "temperature": options.sampled_temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_tokens,
        "max_answer_tokens": options.max_answer_tokens,
        "seed": options.seed,
        "deterministic": options.deterministic,
        "given_rationales": options.given_rationales,
        "prompts": prompts.digest(),
        "n_ctx": options.engine.n_ctx,
        "dtype": options.engine.dtype,
    }
    return settings | asdict(options.engine) if options.deterministic else settings


def model_settings(role: str, backend: Backend | None) -> Settings:
    """Return what a model is, None for one that is not asked."""
    identity = backend.identity if backend else None
    return {
        role: identity.spec if identity else None,
        f"{role}_digest": identity.digest if identity else None,
    }


def _same_file(source: Path | BinaryIO, output: Path) -> bool:
    """Whether a regular file is both, be it by another name or as standard input (`< FILE`)."""
    if not isinstance(source, Path) or not output.is_file():
        return False
    try:
        found = os.fstat(sys.stdin.fileno()) if source == STDIN else source.stat()
    except (OSError, ValueError):  # a stream without a file behind it
        return False
    return os.path.samestat(found, output.stat())


def _waves(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while wave := list(islice(rest, size)):
        yield wave
