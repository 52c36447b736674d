"""Start the command line: the `lmcot` console script, and `python -m lmcot_cli`."""

from __future__ import annotations

import os
import signal
from types import FrameType

from lmcot_cli.errors import INTERRUPTED


def main() -> None:
    """Load the app and run it; Ctrl-C while it loads, when nothing is open yet, ends the process at once."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not under nohup, say
    if interruptible:
        signal.signal(signal.SIGINT, _leave)
    from lmcot_cli.main import main as run

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
