"""The parent's side: start the child process, call it, and explain its end."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Any

from lmcot_cli.errors import ProcessError
from lmcot_cli.fence.limits import ExceededError, Excess, FaultError, Limits

_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lmcot_cli.fence.child import main; main()"
)
_INHERITED = ("TZ", "SYSTEMROOT", "LANG", "LC_ALL", "LC_TIME")
"""The environment variables of the child: no keys."""

_HOME = str(Path(__file__).parents[2])
"""The folder of this package, which `sys.path` may lack."""

Want = Callable[[str], Any]
"""Returns what the child asks for by name during a call."""

_numbers = count(1)


class FencedJob:
    """An object in the child, made there at its first call, and again after the child has ended.

    Args:
        job: The name of its class in `jobs`.
        arguments: The arguments of its class.
        limits: The limits of a call.
        want: Returns what it asks for during a call; None if it asks for nothing.
    """

    def __init__(
        self, job: str, arguments: dict[str, Any], limits: Limits | None = None, want: Want | None = None
    ) -> None:
        self.limits, self.want = limits or Limits(), want
        self._number = next(_numbers)
        self._made = {"make": self._number, "job": job, "arguments": arguments, "wants": want is not None}
        weakref.finalize(self, _dropped.append, self._number).atexit = False

    def call(self, method: str, **arguments: Any) -> Any:
        """Call a method.

        Raises:
            ExceededError: It broke a limit.
            FaultError: It failed within them.
            ProcessError: The child cannot be started.
        """
        with _lock:
            child = _running()
            if self._number not in child.made:
                child.ask(self._made, self)
                child.made.add(self._number)
            return child.ask({"ask": self._number, "call": method, "arguments": arguments}, self)


class _ChildProcess:
    """A child process.

    Attributes:
        made: The numbers of the objects in it.
    """

    def __init__(self) -> None:
        self.made: set[int] = set()
        self._owner = os.getpid()
        self._ready = False
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        try:
            self._process = subprocess.Popen(  # noqa: S603 (this very program, and no shell)
                [sys.executable, "-IS", "-c", _CODE, json.dumps([*sys.path, _HOME])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment | {"TOKENIZERS_PARALLELISM": "false"},
                start_new_session=True,  # Ctrl-C on the terminal is for the parent
            )
        except OSError as error:
            raise ProcessError(f"no process can be started to run templates in: {error.strerror}") from error

    @property
    def usable(self) -> bool:
        """Whether it runs and belongs to this process: a fork shares the pipes, and must not use them."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, message: dict[str, Any], job: FencedJob) -> Any:
        """Send a message and return the reply; the child ends if a limit is broken."""
        self._wait_until_ready()
        dropped, _dropped[:] = _dropped[:], []
        body = json.dumps(message)
        limits = job.limits.beside(len(body))
        frame = json.dumps({"limits": asdict(limits), "drop": dropped})
        try:
            reply = self._exchange(f"{frame[:-1]}, {body[1:]}", limits, job.want)
        except BaseException:  # such as Ctrl-C: the reply would be read as that to the next call
            self.end()
            raise
        if "exceeded" in reply:
            self.end()
            raise ExceededError(reply["exceeded"], limits, reply["place"])
        if "fault" in reply:
            raise FaultError(*reply["fault"])
        return reply["value"]

    def end(self) -> None:
        """End the process and close its pipes."""
        if self._owner != os.getpid():
            self._process.returncode = 0  # it is the other process's child
        else:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        self._process.wait()

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        if self._receive() is None:
            self.end()
            raise ProcessError("the process that runs templates does not start; see lmcot doctor")
        self._ready = True

    def _exchange(self, message: str, limits: Limits, want: Want | None) -> dict[str, Any]:
        reply = self._sent(message)
        while reply is not None and "want" in reply:
            assert want is not None
            reply = self._sent(json.dumps({"given": want(reply["want"])}))
        if reply is None:
            self.end()
            raise ExceededError(_cause_of(self._process.returncode), limits)
        return reply

    def _sent(self, message: str) -> dict[str, Any] | None:
        """Send a message and return the answer; None if the child has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(message.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._receive()

    def _receive(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        reply: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return reply


def warm_up() -> None:
    """Start the child in the background, ahead of the first call."""
    with _lock:
        _running()


def end_child() -> None:
    """End the child if there is one; the next call starts another."""
    global _child
    with _lock:
        if _child:
            _child.end()
        _child = None


def _running() -> _ChildProcess:
    global _child
    if _child and not _child.usable:
        end_child()
    _child = _child or _ChildProcess()
    return _child


def _cause_of(code: int) -> Excess:
    """Return what ended the child, judging by its exit code."""
    timed_out = [getattr(signal, name, None) for name in ("SIGPROF", "SIGALRM")]
    return "time" if -code in timed_out or sys.platform == "win32" else "crash"


_lock = RLock()
_child: _ChildProcess | None = None
_dropped: list[int] = []
atexit.register(end_child)
