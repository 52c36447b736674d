"""Start the command line: the `lmcot` console script, and `python -m lmcot_cli`."""

from __future__ import annotations

from lmcot_cli.interrupts import exit_code, interrupted, leave, leaving_at_once, listening


def main() -> None:
    """Load the app and run it; a signal while it loads, when nothing is open yet, ends the process at once."""
    with listening():
        with leaving_at_once():
            from lmcot_cli.main import main as run

        try:
            run()
        except KeyboardInterrupt:
            leave(exit_code())
        except SystemExit as ending:
            if interrupted() and isinstance(ending.code, int):
                leave(ending.code)  # threads that wait for an answer hold nothing up
            raise


if __name__ == "__main__":
    main()
