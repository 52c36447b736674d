"""Answer a stream of rows: rows in, results out in input order, each in the output before the next is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO

from lmcot_cli.backends.base import Backend, Role
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.naming import ModelName
from lmcot_cli.backends.specs import names_endpoint, open_model
from lmcot_cli.datasets.reader import STDIN, BadRow, read_rows, source_name
from lmcot_cli.datasets.row import Columns, Row
from lmcot_cli.errors import RowError, TooManyErrorsError, UsageError
from lmcot_cli.interrupts import held
from lmcot_cli.pipeline.ahead import Ahead
from lmcot_cli.pipeline.alike import FIRST_ROWS, check_first, held_back
from lmcot_cli.pipeline.budget import Budget
from lmcot_cli.pipeline.cost import cost_of
from lmcot_cli.pipeline.draws import ballots
from lmcot_cli.pipeline.flow import Finishing, Flow, Outcome, Spent
from lmcot_cli.pipeline.journal import Journal, Recorded
from lmcot_cli.pipeline.methods import build_method, preconditions_of
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Failure, Result, TokenCounts, Truncated, Usage
from lmcot_cli.pipeline.resume import Item, failed_again, finish_retry, open_retry, skip_finished
from lmcot_cli.pipeline.rows import Rows
from lmcot_cli.pipeline.run_file import RunFile, Settings, Totals
from lmcot_cli.pipeline.vote import count_votes
from lmcot_cli.pipeline.waves import Drawn
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.system import names_file
from lmcot_cli.prompts.truncation import Droppable
from lmcot_cli.settings.declaration import recorded


class AnswerRun:
    """One run over one input, with or without an output file.

    Args:
        source: The questions.
        options: How they are answered.
        output: Where the results go; what is there already is gone on from.
        overwrite: Start the output anew.
        retry_errors: Answer the rows again that have an error in the output, and those that are missing. The output
            is replaced when all are done, or when the run ends before, with what was done by then; that of a run
            that was killed is taken over by the next.
        command: The command line, for the run file.

    Attributes:
        totals: The sums over the rows that have their record, those of earlier sessions included.
        resumed: Rows that earlier sessions had finished.
        answered_now: The sums over the rows of this session.
        kept_ahead: Rows that are done and kept beside the output, for one before them is not.
    """

    def __init__(
        self,
        source: Path | BinaryIO,
        options: AnswerOptions,
        output: Path | None = None,
        *,
        overwrite: bool = False,
        retry_errors: bool = False,
        command: tuple[str, ...] = (),
    ) -> None:
        self.source, self.options = source, options
        self.output, self.overwrite, self.retry_errors = output, overwrite, retry_errors
        self.command = command
        self.totals = Totals()
        self.resumed = 0
        self.answered_now = Totals()
        self._kept = Totals()
        self._models: Mapping[Role, Backend] = {}
        self._prices = options.role_prices
        self._flow: Flow[BadRow | Recorded] | None = None
        self._ahead: Ahead | None = None
        self.kept_ahead = 0

    def results(self) -> Generator[Result, None, None]:
        """Answer the rows that have no record yet; yield each result once it is in the output.

        Input and output are looked at before a model loads. Closing the iterator early keeps what is done.

        Raises:
            UsageError: Settings that cannot work together, or a model spec that names no model.
            InputError: The input cannot be read or holds no row.
            OutputError: The output cannot be written, or holds results that these settings do not go on from.
            ModelError: A model cannot be loaded or run.
            FirstRowsFailError: The first rows all fail alike, and `options.max_errors` does not say how many may.
            TooManyErrorsError: More rows failed than `options.max_errors` allows.
        """
        self.options.check()
        self._check_output()
        prompts = PromptBuilder(self.options.prompt_options, self.options.stages)
        with ExitStack() as stack:
            rows = Rows(self.source, self.options.limit, self.options.rows)
            journal = self._open_journal(stack, prompts)
            watched = self.options.max_errors is None and (journal is None or journal.is_new)
            if watched:
                preconditions = preconditions_of(self.options, prompts)
                check_first(rows.first(FIRST_ROWS), preconditions, source_name(self.source))
            models = self._models = self._open_models(stack)
            items: Iterator[Item] = rows
            if journal:
                run_file = self._run_file(prompts, models)
                items, journal = self._go_on(rows, journal, run_file, stack)
            answered = self._answer(items, rows.would_wait, models, prompts)
            if watched:
                answered = held_back(answered, source_name(self.source), hold=journal is not None)
            try:
                yield from self._record(answered, journal)
            except KeyboardInterrupt:
                with held():
                    self._keep_ahead(models)
                raise
            finally:
                if journal:
                    with held():
                        journal.calls = self.calls.to_record() if self.calls else None
                        journal.take_place()

    def _check_output(self) -> None:
        for option, given in {"overwrite": self.overwrite, "retry-errors": self.retry_errors}.items():
            if given and self.output is None:
                raise UsageError(f"--{option} needs -o OUT, the output it is about")
        if self.overwrite and self.retry_errors:
            raise UsageError(
                "--overwrite starts the output anew, --retry-errors keeps most of it: choose one"
            )
        if self.retry_errors and self.output and not self.output.exists():
            raise UsageError(
                f"--retry-errors: {self.output} does not exist; leave the option out to begin it"
            )

        for option, file in self.options.files_read.items():
            if self.output and names_file(file) and _same_file(file, self.output):
                raise UsageError(f"-o {self.output}: is the file of {option}; choose another -o")

    def _open_journal(self, stack: ExitStack, prompts: PromptBuilder) -> Journal | None:
        if self.output is None:
            return None
        if _same_file(self.source, self.output):
            raise UsageError(f"-o {self.output}: is the input itself; choose another -o")
        if not self.overwrite:
            finish_retry(self.output)
        journal = stack.enter_context(Journal(self.output, overwrite=self.overwrite))
        journal.check(method_settings(self.options, prompts))
        return journal

    def _go_on(
        self, rows: Rows, journal: Journal, run_file: RunFile, stack: ExitStack
    ) -> tuple[Iterator[Item], Journal]:
        """Begin the output, or find the place where an earlier session ended.

        Returns:
            What is still to be written, and the journal to write it to.
        """
        if not self.retry_errors:
            journal.begin(run_file)
            skip_finished(rows, journal)
            self.totals = self._kept = journal.totals
            self.resumed = self._kept.rows
            return self._those_ahead(rows, journal), journal
        journal.check(run_file.settings)
        kept = sum((one.totals for one in journal.records() if not one.failed), Totals())
        self._kept = replace(kept, usage=journal.totals.usage)  # what failed was spent as well
        retry = stack.enter_context(open_retry(journal))
        retry.begin(run_file)
        return self._those_ahead(failed_again(rows, journal), retry), retry

    def _those_ahead(self, items: Iterator[Item], journal: Journal) -> Iterator[Item]:
        """Yield the items, those that an earlier session had done before their turn as its records."""
        assert self.output is not None
        self._ahead = Ahead(self.output, journal.run)
        self._kept = sum((one.totals for one in self._ahead.rows.values()), self._kept)
        return self._ahead.in_place(items)

    def _keep_ahead(self, models: Mapping[Role, Backend]) -> None:
        """Keep the rows that are done, but have to wait for their turn in the output."""
        if self._ahead and self._flow:
            self._ahead.keep(
                self._row_result(item, outcome, spent, models)
                for item, outcome, spent in self._flow.left()
                if not isinstance(item, Recorded)
            )
            self.kept_ahead = len(self._ahead.rows)

    def _record(self, answered: Iterator[Result | Recorded], journal: Journal | None) -> Iterator[Result]:
        """Write what comes to the journal; yield the results that are new."""
        for one in answered:
            if isinstance(one, Recorded):
                assert journal is not None
                journal.copy(one)
                if self._ahead:
                    self._ahead.take(one)
                self.totals += one.totals
                self.resumed += 1
                continue
            if journal:
                journal.append(one)
            added = Totals.of(one.to_record())
            self.totals += added
            self.answered_now += added
            yield one
            if one.error:
                self._check_errors()
        if journal:
            journal.finish()
        if self._ahead:
            self._ahead.remove()

    def _check_errors(self) -> None:
        limit = self.options.error_limit
        failed, rows = self.answered_now.failed, self.answered_now.rows
        if limit and limit.reached(failed, rows):
            kept = self.output is not None
            raise TooManyErrorsError(failed, rows, str(self.options.max_errors), kept=kept)

    def _open_models(self, stack: ExitStack) -> dict[Role, Backend]:
        """Open the models that are asked, in the order in which they are."""
        return {
            role: stack.enter_context(self._open_model(role, name))
            for role, name in self.options.models.items()
        }

    def _open_model(self, role: Role, name: ModelName) -> Backend:
        options = self.options
        adapters = options.small_adapter if role == "small" else ()
        return open_model(
            name,
            role=role,
            aliases=options.aliases,
            options=options.engine_of(role),
            adapters=adapters,
            endpoint=options.endpoint_of(role),
        )

    def _run_file(self, prompts: PromptBuilder, models: Mapping[Role, Backend]) -> RunFile:
        settings: dict[str, str | int | float | bool | None] = {
            **method_settings(self.options, prompts),
            **model_settings("small", models.get("small")),
            **model_settings("large", models["large"]),
        }
        endpoint = None
        if self._asks_endpoint(models):
            settings |= recorded(self.options.endpoint)
            endpoint = self.options.endpoint.to_record()
        return RunFile(
            self.command,
            source_name(self.source),
            settings,
            asdict(self.options.engine_of("large")),
            endpoint,
        )

    def _asks_endpoint(self, models: Mapping[Role, Backend]) -> bool:
        return any(names_endpoint(model.identity.spec) for model in models.values())

    def stop(self, tell: Callable[[Finishing], None]) -> bool:
        """Begin no more rows; `results` yields those that can be finished in time and then raises KeyboardInterrupt.

        It raises nothing where those were the last rows of the input.

        Args:
            tell: Is told what is finished, if anything is.

        Returns:
            Whether `results` will come to its end by itself.
        """
        return self._flow is not None and self._flow.stop(self.options.finish_within, tell)

    def _answer(
        self,
        items: Iterator[Item],
        would_wait: Callable[[], bool],
        models: Mapping[Role, Backend],
        prompts: PromptBuilder,
    ) -> Iterator[Result | Recorded]:
        """Answer rows; yield the results of all of them in order, records between them as they are."""
        self._flow = Flow(
            build_method(self.options, prompts, models.get("small"), models["large"]),
            {model: self._prices[role] for role, model in models.items()},
            budget=self._budget(),
            one_by_one=self.options.deterministic,
            would_wait=would_wait,
        )
        for item, outcome, spent in self._flow.run(items):
            if isinstance(item, Recorded):
                yield item
            else:
                yield self._row_result(item, outcome, spent, models)
        if self._flow.is_complete:
            return
        if self.output is None:  # there, nothing goes on from the row that is missing
            for item, outcome, spent in self._flow.left():
                if not isinstance(item, Recorded):
                    yield self._row_result(item, outcome, spent, models)
        raise KeyboardInterrupt

    def _row_result(
        self,
        item: Row | BadRow,
        outcome: Outcome | None,
        spent: Spent,
        models: Mapping[Role, Backend],
    ) -> Result:
        usage = Usage(**{role: spent.get(model, TokenCounts()) for role, model in models.items()})
        return replace(self._result(item, outcome), usage=usage)

    @property
    def cost(self) -> float:
        """What the tokens of this session cost by the price table, 0 where it names neither model.

        Calls that were not answered count as much as those that were in their place: an endpoint may bill them.
        """
        lost = {
            role: TokenCounts(model.counters.lost_prompt_tokens, model.counters.lost_completion_tokens)
            for role, model in self._models.items()
            if model.counters
        }
        return cost_of(self.answered_now.usage + Usage(**lost), self._prices)

    @property
    def calls(self) -> Counters | None:
        """What endpoints were asked in this session; None where no model is behind one."""
        counted = [model.counters for model in self._models.values() if model.counters]
        return sum(counted, Counters()) if counted else None

    def _budget(self) -> Budget | None:
        options, kept = self.options, self._kept
        if not options.has_budget:
            return None
        spent = sum(tokens.prompt + tokens.completion for tokens in (kept.usage.small, kept.usage.large))
        return Budget(
            options.max_tokens_total,
            options.deadline,
            options.max_cost,
            rows=self._count_rows(),
            tokens=spent,
            cost=cost_of(kept.usage, self._prices),
            begun=kept.rows,
        )

    def _count_rows(self) -> int | None:
        """Count the rows of the input, so that each gets its share of a budget; None for a stream."""
        if not isinstance(self.source, Path) or not self.source.is_file():
            return None
        rows = sum(1 for _ in read_rows(self.source, self.options.rows))
        return min(rows, self.options.limit or rows)

    def _result(self, item: Row | BadRow, outcome: Outcome | None) -> Result:
        if isinstance(item, BadRow):
            failure = Failure.of(item.error, unnamed="bad_row")
            columns = Columns().kept(self.options.rows.keep_columns)
            return Result(
                item.id, item.question, self.options.method, columns=columns, error=failure, line=item.line
            )
        assert outcome is not None
        return row_result(item, outcome, self.options)


def row_result(row: Row, outcome: Outcome, options: AnswerOptions) -> Result:
    """Count the votes of a row's samples, or record why it failed."""
    result = Result(
        row.id,
        row.question,
        options.method,
        row.answers,
        row.type,
        row_digest=row.digest,
        columns=row.extra.kept(options.rows.keep_columns),
        line=row.line,
    )
    if isinstance(outcome, RowError):
        return replace(result, error=Failure.of(outcome))
    result = replace(result, samples=outcome.samples, truncated=_truncated(row, outcome, options))
    if outcome.error:
        return replace(result, error=Failure.of(outcome.error))
    vote = count_votes(ballots(outcome.samples, options.vote))
    return replace(
        result,
        answer=vote.answer,
        agreement=vote.agreement,
        votes=vote.votes,
        samples_saved=0 if outcome.cut_short else options.samples - len(outcome.samples),
        cut_short=outcome.cut_short,
    )


def _truncated(row: Row, drawn: Drawn, options: AnswerOptions) -> Truncated | None:
    if not drawn.dropped:
        return None
    return Truncated(Droppable(row, options.truncate).most + 1, drawn.dropped)


def method_settings(options: AnswerOptions, prompts: PromptBuilder) -> Settings:
    """Return the settings that change answers, as far as they are known before a model is loaded."""
    return options.recorded() | prompts.settings()


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
