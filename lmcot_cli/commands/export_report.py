"""What `lmcot export` shows: a progress bar on a terminal's stderr, and a table of the files on stdout."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.printable import printable

if TYPE_CHECKING:
    from lmcot_export.outcome import ExportReport, Output

MIB = 1024 * 1024
_VERDICTS = {
    "passed": Text("passed", style="green"),
    "failed": Text("rejected", style="bold red"),
    "inconclusive": Text("inconclusive", style="yellow"),
}


class Bar:
    """Progress on stderr if that is a terminal; implements `lmcot_export.options.Progress`."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> Self:
        _quiet_libraries()
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, what: str, total: int | None = None) -> None:
        """Replace the last step by the next one."""
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(printable(what).replace("[", r"\["), total=total)

    def advance(self, amount: int) -> None:
        """Advance the bar."""
        for task in self._progress.task_ids:
            self._progress.advance(task, amount)


def show(report: ExportReport) -> None:
    """Print the findings about each file, the paths of the requested files, and the recommendation."""
    notes = Console(stderr=True, soft_wrap=True, highlight=False)
    for note in report.notes:
        notes.print(printable(note), markup=False)
    with stdout_console() as console:
        console.print(_table(report))
        for output in report.outputs:
            if output.wanted:
                console.print(Text(printable(str(output.path))), soft_wrap=True)
        for output in report.outputs:
            _show_failures(console, output)
        if report.recommendation is not None:
            console.print(
                Text(f"\nrecommended: {report.recommendation.output.path.name}", style="bold green")
            )
            for reason in report.recommendation.reasons:
                console.print(Text(f"  {reason}"))


def _table(report: ExportReport) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("type")
    for name in ("MiB", "bits", "tokens/s", "mean KL", "top-1", "EM diff.", "checks"):
        table.add_column(name, justify="right")
    for output in report.outputs:
        table.add_row(printable(output.type), f"{output.size / MIB:,.1f}", *_figures(output))
    return table


def _figures(output: Output) -> list[Text]:
    found = output.verification
    if found is None:
        return [Text("-")] * 5 + [Text("not verified", style="yellow")]
    figures, match = found.figures, found.figures.exact_match
    divergence = figures.where_used
    cells = [
        f"{figures.bits_per_weight:.2f}",
        "-" if figures.tokens_per_second is None else f"{figures.tokens_per_second:,.0f}",
        "-" if divergence is None else f"{divergence.kl_mean:.1e}",
        "-" if divergence is None else f"{100 * divergence.top1:.1f}%",
        "-" if match is None else f"{100 * match.difference.mean:+.1f}",
    ]
    return [*map(Text, cells), _VERDICTS[found.verdict]]


def _show_failures(console: Console, output: Output) -> None:
    if (found := output.verification) is None:
        return
    for check in (*found.failed, *found.inconclusive):
        line = f"{printable(output.path.name)}: {check.name}: {printable(check.detail)}"
        console.print(Text(line, style="yellow" if check.inconclusive else "red"), soft_wrap=True)
    if found.verdict == "inconclusive" and not output.passed:
        console.print(
            Text("  give more questions (--verify, --rows), or accept it with --allow-inconclusive"),
            soft_wrap=True,
        )


def _quiet_libraries() -> None:
    """Keep what libraries log about loading files off the terminal."""
    import transformers  # sets the level of its logger when it is first used, so ours must come after

    transformers.logging.set_verbosity_error()
    logging.getLogger("gguf").setLevel(logging.ERROR)
