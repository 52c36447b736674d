"""What is shown after the first Ctrl-C: how many rows will be finished, and how long that may take."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from lmcot_cli.interrupts import how_to_stop_now, stopping
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.flow import Finishing


def finishing(run: AnswerRun, say: Callable[[str], None]) -> AbstractContextManager[None]:
    """Let the first Ctrl-C or SIGTERM in this block finish the rows of a run that are nearly done.

    Args:
        run: The run.
        say: Shows a line.
    """

    def stop() -> bool:
        return run.stop(lambda finishing: say(message(finishing)))

    return stopping(stop, run.options.finish_within)


def message(finishing: Finishing) -> str:
    """Return what will be finished before the end."""
    rows = "1 row" if finishing.rows == 1 else f"{finishing.rows:,} rows"
    seconds = finishing.seconds
    time = f"at most {finishing.within:g} s" if seconds is None else f"about {max(round(seconds), 1)} s"
    return f"finishing {rows}, {time}; {how_to_stop_now()}"
