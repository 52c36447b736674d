"""Ctrl-C while rows are under way: the first one finishes them, a second one drops them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def finishing(stop: Callable[[], bool], say: Callable[[str], None]) -> Iterator[None]:
    """Within, the first Ctrl-C calls `stop`, which says whether there is something to finish.

    The next one, or the first if there is nothing, raises KeyboardInterrupt as usual.
    """

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if not stop():
            raise KeyboardInterrupt
        say("finishing the rows under way; Ctrl-C again drops them")

    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return
    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
