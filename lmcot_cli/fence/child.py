"""The child process: reads calls from its standard input, applies their limits to itself, and writes the results.

Every line is a JSON object. `{"make": 1, "job": "chat", ...}` makes an object, `{"ask": 1, "call": "render", ...}`
calls a method of it, and `{"drop": [1]}` forgets it. The reply is one of `{"value": ...}`, `{"fault": [kind, reason,
place]}` and `{"exceeded": ..., "place": ...}`; before it, there may be any number of `{"want": name}`, each answered
by `{"given": ...}`. A limit that nothing here can notice, of time or a stack that overflows in C, ends the process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from lmcot_cli.fence.jobs import job_class
from lmcot_cli.fence.limits import FaultError, Limits, OverLimitError

_STATM = Path("/proc/self/statm")

Job = Any
"""An object of one of the classes of `jobs`."""


class Child:
    """The loop that serves calls."""

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source, self._target = source, target
        self._jobs: dict[int, Job] = {}
        self._resting = _address_space()

    def run(self) -> None:
        """Serve until the parent closes the pipe."""
        self._send({"value": "ready"})
        for line in self._source:
            message = json.loads(line)
            for number in message.get("drop", ()):
                self._jobs.pop(number, None)
            with _limited(Limits(**message["limits"]), self._resting):
                reply = self._reply(message)
            if "make" in message:  # what an object keeps does not count for its calls
                self._resting = _address_space()
            self._target.write(reply)
            self._target.flush()

    def _reply(self, message: dict[str, Any]) -> bytes:
        try:
            return _line({"value": self._done(message)})
        except OverLimitError as error:
            return _line({"exceeded": error.excess, "place": error.place})
        except MemoryError:
            return _line({"exceeded": "memory", "place": None})
        except RecursionError:
            return _line({"exceeded": "recursion", "place": None})
        except FaultError as error:
            fault = error
        except BaseException as error:
            # Broad on purpose: a stranger's template or tokenizer may raise anything, and a panic of a Rust library is
            # no Exception. The parent makes one line of it.
            fault = FaultError.of(error)
        return _line({"fault": [fault.kind, str(fault), fault.place]})

    def _done(self, message: dict[str, Any]) -> Any:
        arguments = message["arguments"]
        if "make" in message:
            made = job_class(message["job"])
            wanting = {"want": self._want} if message["wants"] else {}
            self._jobs[message["make"]] = made(**arguments, **wanting)
            return None
        return getattr(self._jobs[message["ask"]], message["call"])(**arguments)

    def _want(self, name: str) -> Any:
        self._send({"want": name})
        return json.loads(self._source.readline())["given"]

    def _send(self, message: dict[str, Any]) -> None:
        self._target.write(_line(message))
        self._target.flush()


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


@contextmanager
def _limited(limits: Limits, resting: int) -> Iterator[None]:
    """Apply limits to this process: timers that end it, even within C, and a maximum of memory."""
    stop_timers = _start_timers(limits)
    _bound_memory(resting + int(limits.memory) if resting else None)
    try:
        yield
    finally:
        stop_timers()
        _bound_memory(None)


def _start_timers(limits: Limits) -> Callable[[], None]:
    """End this process when its time is over; return a function that cancels that."""
    if sys.platform == "win32":
        import faulthandler

        nowhere = Path(os.devnull).open("w")  # noqa: SIM115 (open as long as the timer runs)
        # This timer works even while C code keeps Python's lock.
        faulthandler.dump_traceback_later(limits.wall_seconds, exit=True, file=nowhere)
        return faulthandler.cancel_dump_traceback_later
    _set_timers(limits.seconds, limits.wall_seconds)
    return partial(_set_timers, 0, 0)


def _set_timers(seconds: float, wall_seconds: float) -> None:
    """Let the system end this process by a signal; 0 cancels that."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, wall_seconds)


def _bound_memory(most: int | None) -> None:
    """Limit the address space of this process where the system can; None removes the limit."""
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = hard if most is None else most
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def _address_space() -> int:
    """Return the address space of this process in bytes; 0 where it cannot be limited."""
    if sys.platform != "linux":
        return 0
    return int(_STATM.read_bytes().split()[0]) * os.sysconf("SC_PAGESIZE")


def main() -> None:
    """Serve on the standard streams; nothing else is written to them."""
    # Signals are for the parent, which may finish something before it closes the pipe.
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])):
        signal.signal(number, signal.SIG_IGN)
    target = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Child(sys.stdin.buffer, target).run()
