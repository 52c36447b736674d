"""Answer a stream of rows: rows in, results out in input order, each in the output before the next is shown."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO

from lmcot_cli.backends.base import Backend, Role
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.specs import names_endpoint, open_model
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Columns, Row
from lmcot_cli.datasets.streams import source_name
from lmcot_cli.errors import RowError, TooManyErrorsError
from lmcot_cli.interrupts import held
from lmcot_cli.pipeline.alike import FIRST_ROWS, check_first, held_back
from lmcot_cli.pipeline.budget import Budget
from lmcot_cli.pipeline.cost import cost_of
from lmcot_cli.pipeline.draws import ballots
from lmcot_cli.pipeline.flow import Finishing, Flow, Outcome, RowDone
from lmcot_cli.pipeline.journal import Recorded
from lmcot_cli.pipeline.methods import build_method, preconditions_of
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Failure, Result, TokenCounts, Truncated, Usage
from lmcot_cli.pipeline.rows import Rows
from lmcot_cli.pipeline.run_file import RunFile, Settings
from lmcot_cli.pipeline.session import Session
from lmcot_cli.pipeline.vote import count_votes
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.truncation import Droppable
from lmcot_cli.settings.declaration import recorded


class AnswerRun:
    """One run over one input, with or without an output file.

    Args:
        source: The questions.
        options: How they are answered.
        output: Where the results go; a run over the same input with the same settings is continued.
        overwrite: Start the output anew.
        retry_errors: Answer the rows again that have an error in the output, and those that are missing. The output
            is replaced at the end of the run, with what was done by then; the next run takes over the results of one
            that was killed.
        command: The command line, for the run file.

    Attributes:
        session: The state of the output, and the sums over its rows.
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
        self.source, self.options, self.output, self.command = source, options, output, command
        self.session = Session(output, overwrite=overwrite, retry_errors=retry_errors)
        self._models: dict[Role, Backend] = {}
        self._flow: Flow | None = None

    def results(self) -> Generator[Result, None, None]:
        """Answer the rows that have no record yet; yield each result once it is in the output.

        Input and output are checked before a model loads. Closing the iterator early keeps what is done.

        Raises:
            UsageError: Settings that cannot work together, or a model spec that names no model.
            InputError: The input cannot be read or holds no row.
            OutputError: The output cannot be written, or holds results of other settings or another input.
            ModelError: A model cannot be loaded or run.
            FirstRowsFailError: The first rows all fail alike, and `options.max_errors` does not say how many may.
            TooManyErrorsError: More rows failed than `options.max_errors` allows.
        """
        options, session = self.options, self.session
        options.check()
        session.check(self.source, options.files_read)
        prompts = PromptBuilder(options.prompt_options, options.stages)
        rows = Rows(self.source, options.limit, options.rows, options.ids)
        with session.opened(method_settings(options, prompts)), ExitStack() as stack:
            if watched := options.max_errors is None and session.is_new:
                first = rows.first(FIRST_ROWS)
                check_first(first, preconditions_of(options, prompts), source_name(self.source))
            self._open_models(stack)
            items = session.todo(rows, self._run_file(prompts))
            self._flow = self._start_flow(prompts, rows.would_wait)
            results = self._results(self._flow, items)
            if watched:
                results = held_back(results, source_name(self.source), hold=self.output is not None)
            try:
                yield from self._written(results)
            except KeyboardInterrupt:
                with held():
                    session.keep_ahead(self._left(self._flow))
                raise
            finally:
                session.end(self.calls.to_record() if self.calls else None)

    def stop(self, tell: Callable[[Finishing], None]) -> bool:
        """Begin no more rows; `results` yields those that can be finished in time and then raises KeyboardInterrupt.

        It raises nothing where those were the last rows of the input.

        Args:
            tell: Is told which rows are finished, if any.

        Returns:
            Whether `results` will come to its end by itself.
        """
        return self._flow is not None and self._flow.stop(self.options.finish_within, tell)

    @property
    def cost(self) -> float:
        """The cost of this session's tokens by the price table, 0 where it names neither model.

        Calls without an answer count as much as those that replaced them: an endpoint may bill them.
        """
        lost = {
            role: TokenCounts(model.counters.lost_prompt_tokens, model.counters.lost_completion_tokens)
            for role, model in self._models.items()
            if model.counters
        }
        return cost_of(self.session.answered_now.usage + Usage(**lost), self.options.role_prices)

    @property
    def calls(self) -> Counters | None:
        """The calls of this session to endpoints; None where no model is behind one."""
        counted = [model.counters for model in self._models.values() if model.counters]
        return sum(counted, Counters()) if counted else None

    def _open_models(self, stack: ExitStack) -> None:
        """Open the models in the order in which they are asked."""
        options = self.options
        for role, name in options.models.items():
            model = open_model(
                name,
                role=role,
                aliases=options.aliases,
                options=options.engine_of(role),
                adapters=options.small_adapter if role == "small" else (),
                endpoint=options.endpoint_of(role),
            )
            self._models[role] = stack.enter_context(model)

    def _start_flow(self, prompts: PromptBuilder, would_wait: Callable[[], bool]) -> Flow:
        models, options = self._models, self.options
        return Flow(
            build_method(options, prompts, models.get("small"), models["large"]),
            {model: options.role_prices[role] for role, model in models.items()},
            budget=self._budget(),
            one_by_one=options.deterministic,
            would_wait=would_wait,
        )

    def _budget(self) -> Budget | None:
        options, kept = self.options, self.session.kept
        if not options.has_budget:
            return None
        return Budget(
            options.max_tokens_total,
            options.deadline,
            options.max_cost,
            rows=self._count_rows(),
            tokens=kept.usage.tokens,
            cost=cost_of(kept.usage, options.role_prices),
            begun=kept.rows,
        )

    def _count_rows(self) -> int | None:
        """Count the rows of the input, so that each gets its share of a budget; None for a stream."""
        if not isinstance(self.source, Path) or not self.source.is_file():
            return None
        rows = sum(1 for _ in read_rows(self.source, self.options.rows))
        return min(rows, self.options.limit or rows)

    def _results(self, flow: Flow, items: Iterator[Row | BadRow | Recorded]) -> Iterator[Result | Recorded]:
        """Yield the result of every row in order, and the records of earlier sessions between them."""
        for done in flow.run(items):
            yield done.item if isinstance(done.item, Recorded) else self._result(done.item, done)
        if flow.is_complete:
            return
        if self.output is None:  # no later session will fill the gap
            yield from self._left(flow)
        raise KeyboardInterrupt

    def _left(self, flow: Flow) -> Iterator[Result]:
        """Yield the results of the rows that are done behind one that is not."""
        for done in flow.left():
            if not isinstance(done.item, Recorded):
                yield self._result(done.item, done)

    def _result(self, row: Row | BadRow, done: RowDone) -> Result:
        usage = Usage(**{role: done.spent.get(model, TokenCounts()) for role, model in self._models.items()})
        return replace(row_result(row, done.outcome, self.options), usage=usage)

    def _written(self, results: Iterator[Result | Recorded]) -> Iterator[Result]:
        """Write what comes to the output; yield the results that are new."""
        for one in results:
            self.session.write(one)
            if isinstance(one, Result):
                yield one
                self._check_errors(one)
        self.session.finish()

    def _check_errors(self, result: Result) -> None:
        limit, now = self.options.error_limit, self.session.answered_now
        if result.error and limit and limit.reached(now.failed, now.rows):
            kept = self.output is not None
            raise TooManyErrorsError(now.failed, now.rows, str(self.options.max_errors), kept=kept)

    def _run_file(self, prompts: PromptBuilder) -> RunFile:
        options, models = self.options, self._models
        settings = {
            **method_settings(options, prompts),
            **_model_settings("small", models.get("small")),
            **_model_settings("large", models["large"]),
        }
        asks_endpoint = any(names_endpoint(model.identity.spec) for model in models.values())
        return RunFile(
            self.command,
            source_name(self.source),
            settings | recorded(options.endpoint) if asks_endpoint else settings,
            asdict(options.engine_of("large")),
            options.endpoint.to_record() if asks_endpoint else None,
        )


def row_result(row: Row | BadRow, outcome: Outcome | None, options: AnswerOptions) -> Result:
    """Count the votes of a row's samples, or record why it failed; `outcome` is None for a bad row."""
    result = _empty_result(row, options)
    if isinstance(row, BadRow) or outcome is None:
        return result
    if isinstance(outcome, RowError):
        return replace(result, error=Failure.of(outcome))
    dropped = outcome.dropped
    truncated = Truncated(Droppable(row, options.truncate).most + 1, dropped) if dropped else None
    result = replace(result, samples=outcome.samples, truncated=truncated)
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


def _empty_result(row: Row | BadRow, options: AnswerOptions) -> Result:
    """Return what a result has of its row, which is the error of a bad row."""
    keep, method = options.rows.keep_columns, options.method
    if isinstance(row, BadRow):
        columns, failure = Columns().kept(keep), Failure.of(row.error, unnamed="bad_row")
        return Result(row.id, row.question, method, columns=columns, error=failure, line=row.line)
    columns = row.extra.kept(keep)
    return Result(
        row.id,
        row.question,
        method,
        row.answers,
        row.type,
        row_digest=row.digest,
        columns=columns,
        line=row.line,
    )


def method_settings(options: AnswerOptions, prompts: PromptBuilder) -> Settings:
    """Return the settings that change answers, as far as they are known before a model is loaded."""
    return options.recorded() | prompts.settings()


def _model_settings(role: str, backend: Backend | None) -> Settings:
    """Return the spec and digest of a model, None for one that is not asked."""
    identity = backend.identity if backend else None
    return {
        role: identity.spec if identity else None,
        f"{role}_digest": identity.digest if identity else None,
    }
