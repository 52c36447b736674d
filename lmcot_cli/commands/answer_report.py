"""What `lmcot answer` shows: one line per result on a terminal; progress, warnings and summary on stderr."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.printable import escaped, printable
from lmcot_cli.datasets.streams import source_name
from lmcot_cli.interrupts import held, how_to_stop_now, stopping
from lmcot_cli.pipeline.destinations import destinations
from lmcot_cli.pipeline.flow import Finishing
from lmcot_cli.pipeline.result import Result

if TYPE_CHECKING:
    from lmcot_cli.pipeline.answer import AnswerRun

MOST_WARNINGS = 20
LOGGER = logging.getLogger("lmcot_cli")
"""The library logs here what happens while it works, such as an endpoint that is down."""


_NO_ANSWERS = (
    "\nno row has an answer: the large LM wrote none; base models need solved examples (--shots) and, behind an"
    " endpoint, --endpoint-api completions; other models may need their own prompts (--prompts)"
)
_NO_MATCH = (
    "\nno row has an answer: --answer-regex matches no reply; leave it out to see what the replies look like"
)
_NO_THOUGHT = "\nno model thought, although --thinking is on: these models have no such switch"


class LoggedWarnings(logging.Handler):
    """Shows log records at the level of warnings and above.

    Args:
        say: Shows one line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        self._say(printable(record.getMessage()))


class AnswerReport:
    """Everything that goes to stderr during a run and at its end; nothing if `quiet`.

    Entering it prints which settings file is in use and which hosts will be asked. Leaving it prints the summary or,
    after Ctrl-C, how to continue. With `records` on stdout (--json), a row that failed while it was answered has its
    error there only; rows that could not be read are warned about as well.
    """

    def __init__(self, run: AnswerRun, *, quiet: bool, progress: bool, records: bool = False) -> None:
        self._run, self._quiet = run, quiet
        self._console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
        self._progress = _progress(self._console, run.options.limit) if progress and not quiet else None
        self._warnings = 0
        self._untold = ("out_of_budget", "row_failed") if records else ("out_of_budget",)
        self._logged = LoggedWarnings(lambda message: self.say(f"warning: {message}", style="yellow"))
        self._started = time.monotonic()
        self._thought = False

    def __enter__(self) -> Self:
        options = self._run.options
        for line in destinations(options.models, options):
            self.say(escaped(line), style="dim")
        LOGGER.addHandler(self._logged)
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        LOGGER.removeHandler(self._logged)
        if self._progress:
            self._progress.stop()
        if kind is None:
            self.say(self._summary())
        elif issubclass(kind, KeyboardInterrupt):
            with held(), suppress(OSError):  # a terminal that is gone
                self.say(self._interrupted())

    def follow(self, results: Iterator[Result]) -> Iterator[Result]:
        """Yield the results, and warn about each that failed."""
        for result in results:
            self._thought = self._thought or any(sample.thoughts for sample in result.samples)
            if result.error and result.error.type not in self._untold:  # the summary counts them
                self.warn(f"{source_name(self._run.source)}:{result.line}: {result.error.message}")
            if self._progress:
                (task,), totals = self._progress.task_ids, self._run.session.totals
                self._progress.update(task, completed=totals.rows, failed=totals.failed)
            yield result

    def warn(self, message: str) -> None:
        """Print a warning; after many of them, print once that there are more."""
        self._warnings += 1
        if self._warnings <= MOST_WARNINGS:
            self.say(f"warning: {printable(message)}", style="yellow")
        elif self._warnings == MOST_WARNINGS + 1:
            self.say("warning: more rows failed; their errors are in the results", style="yellow")

    def say(self, message: str, style: str = "") -> None:
        """Print a message between the results."""
        if not self._quiet:
            self._console.print(message, style=style, markup=False)

    def _summary(self) -> str:
        totals, run = self._run.session.totals, self._run
        parts = [f"answered {totals.answered:,} of {totals.rows:,} rows"]
        if run.session.resumed:
            parts[0] += f" ({run.session.resumed:,} rows were done earlier)"
        if totals.unanswered:
            parts.append(f"{totals.unanswered:,} without an answer")
        if totals.failed:
            advice = " (--retry-errors answers them again)" if run.output else ""
            parts.append(f"{totals.failed:,} failed{advice}")
        if totals.cut_short:
            parts.append(f"{totals.cut_short:,} cut short")
        if totals.truncated:
            parts.append(f"{totals.truncated:,} with paragraphs dropped")
        parts.append(f"in {time.monotonic() - self._started:.1f} s")
        now = run.session.answered_now
        written = now.usage.small.completion + now.usage.large.completion
        spent = f"{written:,} tokens written"
        if now.samples_saved:
            planned = now.samples + now.samples_saved
            spent += f", {now.samples_saved:,} of {planned:,} samples saved"
        if run.cost:
            spent += f", worth {run.cost:.4g} by the price table"
        spent += self._cut() + self._calls()
        results = f"; results in {run.output}" if run.output else ""
        return f"{', '.join(parts)}; {spent}{results}{self._hints()}"

    def _hints(self) -> str:
        """Return what may be wrong if no row has an answer, or no model thought as told."""
        totals, options = self._run.session.totals, self._run.options
        hint = ""
        if totals.rows and totals.unanswered == totals.rows:
            hint = _NO_MATCH if options.answer_regex else _NO_ANSWERS
        told_to = "on" in (options.thinking_of("small"), options.thinking_of("large"))
        if told_to and self._run.session.answered_now.answered and not self._thought:
            hint += _NO_THOUGHT
        return hint

    def _cut(self) -> str:
        """Return how many replies limits cut in this session, and which option raises them."""
        now, chains = self._run.session.answered_now, self._run.options.method == "cot"
        limits = {
            ("reply", "replies", "--max-tokens" if chains else "--max-answer-tokens"): now.cut_replies,
            ("rationale", "rationales", "--max-tokens"): now.cut_rationales,
        }
        also = " or --max-thinking-tokens" if now.thoughts else ""
        return "".join(
            f"; {count:,} {one if count == 1 else several} {'was' if count == 1 else 'were'} cut: raise {option}{also}"
            for (one, several, option), count in limits.items()
            if count
        )

    def _calls(self) -> str:
        """Return how many calls an endpoint left unanswered, and how many may be billed twice."""
        calls = self._run.calls
        if calls is None:
            return ""
        counts = {
            "never answered": calls.unanswered,
            "sent a second time (both may be billed)": calls.hedged,
        }
        return "".join(f"; {_counted(number)} {what}" for what, number in counts.items() if number)

    def _interrupted(self) -> str:
        done = f"stopped: {self._run.session.totals.rows:,} rows written"
        if self._run.output is None:
            return f"{done}; with -o OUT they would be kept, and the same command would continue"
        if self._run.session.kept_ahead:
            done += f" ({self._run.session.kept_ahead:,} more are done and kept for later)"
        return f"{done} to {self._run.output}; continue with: {shlex.join(resuming(self._run.command))}"


def _counted(calls: int) -> str:
    return "1 call was" if calls == 1 else f"{calls:,} calls were"


def _progress(console: Console, limit: int | None) -> Progress:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TextColumn("rows, {task.fields[failed]} failed"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    progress.add_task("answering", total=limit, failed=0)
    return progress


def finishing(run: AnswerRun, say: Callable[[str], None]) -> AbstractContextManager[None]:
    """Let the first Ctrl-C or SIGTERM in this block finish the rows of a run that are nearly done."""

    def stop() -> bool:
        return run.stop(lambda finishing: say(_finishing(finishing)))

    return stopping(stop, run.options.finish_within)


def _finishing(finishing: Finishing) -> str:
    """Return what will be finished before the end."""
    rows = "1 row" if finishing.rows == 1 else f"{finishing.rows:,} rows"
    seconds = finishing.seconds
    time = f"at most {finishing.within:g} s" if seconds is None else f"about {max(round(seconds), 1)} s"
    return f"finishing {rows}, {time}; {how_to_stop_now()}"


def command_line() -> tuple[str, ...]:
    """Return the command as a user would type it."""
    return ("lmcot", *sys.argv[1:])


def resuming(command: tuple[str, ...]) -> list[str]:
    """Return the command that continues what this one began."""
    return [word for word in command if word != "--overwrite"]


def result_line(result: Result) -> Text:
    """Return a result as one line to read: mark, question, answer, agreement."""
    line = Text(no_wrap=True, overflow="ignore")
    line.append(*_gold_mark(result))
    line.append(f" {printable(result.question or f'row {result.id}')}  ")
    if result.error:
        return line.append("(failed)", style="red")
    line.append(printable(result.answer) if result.answer is not None else "(no answer)", style="bold")
    if len(result.samples) > 1:
        line.append(f"  {result.agreement:.0%} of {len(result.samples)} samples", style="dim")
    return line


def _gold_mark(result: Result) -> tuple[str, str]:
    if result.error:
        return "!", "red"
    if not result.gold:
        return "·", "dim"
    from lmcot_cli.scoring.metrics import exact_match

    return ("✓", "green") if exact_match(result.answer, result.gold) else ("✗", "red")


def show_line(result: Result) -> None:
    """Print a result to the terminal: its line, and below it the rationale that led to the answer."""
    with stdout_console() as console:
        console.print(result_line(result), soft_wrap=True)
        if rationale := _winning_rationale(result):
            console.print(Text(f"    {printable(rationale)}", style="dim"), soft_wrap=True)


def _winning_rationale(result: Result) -> str | None:
    return next((s.rationale for s in result.samples if s.answer == result.answer), None)
