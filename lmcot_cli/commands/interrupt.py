"""What the first Ctrl-C says while rows are under way: how many are finished, and how long that may take."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from lmcot_cli.interrupts import how_to_stop_now, stopping
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.flow import Finishing


def finishing(run: AnswerRun, say: Callable[[str], None]) -> AbstractContextManager[None]:
    """Within, the first Ctrl-C or SIGTERM lets a run finish the rows that it is near the end of.

    Args:
        run: The run.
        say: Shows a line.
    """

    def stop() -> bool:
        return run.stop(lambda finishing: say(message(finishing)))

    return stopping(stop, run.options.finish_within)


def message(finishing: Finishing) -> str:
    """Say what is finished before the end."""
    rows = "1 row" if finishing.rows == 1 else f"{finishing.rows:,} rows"
    seconds = finishing.seconds
    time = f"at most {finishing.within:g} s" if seconds is None else f"about {max(round(seconds), 1)} s"
    return f"finishing {rows}, {time}; {how_to_stop_now()}"
