"""Handle Ctrl-C, SIGTERM and SIGHUP at any point of the program, and end in time.

Python runs a signal handler in the main thread, between two bytecodes: code that computes in C for a minute delays it
for a minute. So a thread of our own receives each signal at once. It calls those that asked for it (`telling`), and
makes sure that the process ends.

    the first signal    begins to stop, if there is a way to (`stopping`), or else raises KeyboardInterrupt
    the second          raises KeyboardInterrupt, as does the end of the time that stopping may take
    the third           ends the process at once, as happens when it takes too long to end by itself

Ending at once loses nothing that was written: outputs are journals, and other files are replaced whole or not at all.
Without `listening`, as in a program that imports lmcot, signals are left to that program.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Thread, current_thread, main_thread
from time import monotonic
from types import FrameType
from typing import NoReturn

from lmcot_cli.errors import INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a run: Ctrl-C, what schedulers and containers send, and a terminal that closes."""

UNWINDING_SECONDS = 1.5
"""How long the process may take to end after KeyboardInterrupt; it closes files and models in that time."""

LEAST_SECONDS = 6.5
"""How long it may take at least after the first signal: interpreters, models and connections close slowly."""

_TIME_IS_OVER = signal.SIGALRM
_LEAVE_AFTER = 3


class Ears:
    """The signals received so far and how to react to them. A process has one instance: `EARS`.

    Attributes:
        first: The first signal, None before it.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._heard = self._handled = 0
        self._told: list[Callable[[], None]] = []
        self._stop: Callable[[], bool] | None = None
        self._patience = 0.0
        self._held = 0
        self._due = False
        self._at_once = False
        self._over_at = self._gone_at = float("inf")
        self._receiver = self._sender = -1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals in this block; those that are ignored, as under nohup or in the background, stay ignored."""
        heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._receiver, self._sender = os.pipe()
        for end in (self._receiver, self._sender):
            os.set_blocking(end, False)
        before = {number: signal.signal(number, self._handle) for number in (*heeded, _TIME_IS_OVER)}
        signal.set_wakeup_fd(self._sender, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=lambda: self._leave_to_parent(before))
        thread = Thread(target=self._listen, name="signals", daemon=True)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.write(self._sender, b"\0")
            thread.join()
            os.close(self._receiver)
            os.close(self._sender)
            self.__init__()  # type: ignore[misc]

    @contextmanager
    def leaving_at_once(self) -> Iterator[None]:
        """Let any signal end the process at once: nothing has begun."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    @contextmanager
    def stopping(self, stop: Callable[[], bool], patience: float) -> Iterator[None]:
        """Let the first signal in this block call `stop` in the main thread, at any point of the program.

        Args:
            stop: Begins to stop and returns whether there is something to finish; if not, KeyboardInterrupt is raised.
            patience: Seconds to finish in.
        """
        before = self._stop, self._patience
        self._stop, self._patience = stop, patience
        try:
            yield
        finally:
            self._stop, self._patience = before
            if self._heard:
                self._over_at = float("inf")
                self._gone_at = monotonic() + LEAST_SECONDS

    @contextmanager
    def held(self) -> Iterator[None]:
        """Delay KeyboardInterrupt to the end of this block, so that a file is written whole."""
        if current_thread() is not main_thread():  # signals raise only there
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if self._due and not self._held:
                self._due = False
                raise KeyboardInterrupt

    @contextmanager
    def telling(self, told: Callable[[], None]) -> Iterator[None]:
        """Call `told` at each signal in this block, at once and from another thread."""
        self._told.append(told)
        try:
            yield
        finally:
            self._told.remove(told)

    @property
    def code(self) -> int:
        """The exit code: 128 plus the signal, as in a shell; that of Ctrl-C if there was no signal."""
        return 128 + self.first if self.first else INTERRUPTED

    def leave(self, code: int | None = None) -> NoReturn:
        """End the process without waiting for its threads."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(self.code if code is None else code)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """React to a signal in the main thread."""
        if number == _TIME_IS_OVER:
            self._raise()
            return
        self.first = self.first or number
        self._handled += 1
        if self._at_once or self._handled >= _LEAVE_AFTER:
            os._exit(self.code)
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        if not (self._handled == 1 and self._stop and self._stop()):
            self._raise()

    def _raise(self) -> None:
        if self._held:
            self._due = True
        else:
            raise KeyboardInterrupt

    def _listen(self) -> None:
        """Receive signals in a thread, and watch the time."""
        while True:
            wait = min(self._over_at, self._gone_at) - monotonic()
            ready, _, _ = select.select(
                [self._receiver], [], [], None if wait == float("inf") else max(0, wait)
            )
            for number in os.read(self._receiver, 64) if ready else b"":
                if number == 0:
                    return
                if number in SIGNALS:
                    self._hear(number)
            self._watch()

    def _hear(self, number: int) -> None:
        self.first = self.first or number
        self._heard += 1
        now = monotonic()
        if self._heard == 1:
            self._over_at = now + self._patience if self._stop else float("inf")
            self._gone_at = now + max(self._patience + UNWINDING_SECONDS, LEAST_SECONDS)
        else:
            self._gone_at = min(self._gone_at, now + UNWINDING_SECONDS)
        if self._heard >= _LEAVE_AFTER:
            os._exit(self.code)
        for told in tuple(self._told):
            told()

    def _watch(self) -> None:
        now = monotonic()
        if now >= self._over_at:
            self._over_at = float("inf")
            for told in tuple(self._told):
                told()
            signal.pthread_kill(main_thread().ident or 0, _TIME_IS_OVER)
        if now >= self._gone_at:
            with suppress(OSError):
                _, writable, _ = select.select([], [2], [], 0)
                if writable:  # this must not block
                    os.write(2, b"stopped at once; what was written is kept\n")
            os._exit(self.code)

    def _leave_to_parent(self, before: Mapping[signal.Signals, object]) -> None:
        """Restore the handlers in a forked process: the pipe belongs to the parent."""
        if self._sender >= 0:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]


def _let_go_of_terminal() -> None:
    """Discard what would be written to a terminal that is gone: each such write would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with suppress(OSError):
            if os.isatty(stream):
                os.dup2(nowhere, stream)
    os.close(nowhere)


EARS = Ears()
listening, leaving_at_once, stopping = EARS.listening, EARS.leaving_at_once, EARS.stopping
held, telling, leave = EARS.held, EARS.telling, EARS.leave


def exit_code() -> int:
    """Return the exit code after an interruption; see `Ears.code`."""
    return EARS.code


def how_to_stop_now() -> str:
    """Return the end of a message about what is being finished: what stops the process now."""
    if EARS.first in (None, signal.SIGINT):
        return "Ctrl-C again to stop now"
    return f"received {signal.Signals(EARS.first).name}, another signal stops now"


def interrupted() -> bool:
    """Return whether a signal has been received."""
    return EARS.first is not None
