"""Run a part of a benchmark in a process of its own.

Its peak of memory is then its own, and a crash of llama.cpp leaves the other parts alone. One line of JSON goes in on
stdin, {"part": "module:function", "arguments": {...}}; one object comes out on stdout, {"result": {...}} or
{"error": "..."}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from threading import Thread
from typing import Any

from lmcot_cli.errors import LmcotError, ModelError

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lmcot_cli.bench.process import main; main()"


def run_part(part: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run a function `module:measure_NAME` with these arguments (what JSON can say), and return its result.

    Raises:
        ModelError: The part could not be measured; what it wrote to stderr has been shown.
    """
    with subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-P", "-c", _START, json.dumps(sys.path)],  # -P: no modules of the folder we are in
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the other
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"part": part, "arguments": arguments}).encode() + b"\n")
            process.stdin.flush()  # and left open: the other process ends when it closes
            output = process.stdout.read()
            process.wait()
        finally:
            process.kill()
    return _result(part, process.returncode, output)


def _result(part: str, status: int, output: bytes) -> dict[str, Any]:
    name = part.rpartition(":measure_")[2].replace("_", "-")
    if status < 0:
        raise ModelError(f"measuring {name}: its process was ended by signal {-status}; was memory short?")
    if status > 0:
        raise ModelError(f"measuring {name}: its process failed (status {status}); see above")
    reply: dict[str, Any] = json.loads(output)
    if "error" in reply:
        raise ModelError(f"measuring {name}: {reply['error']}")
    result: dict[str, Any] = reply["result"]
    return result


def main() -> None:
    """Do what stdin says; stdout is kept for the result, whatever libraries print."""
    reply_to = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    request = json.loads(sys.stdin.readline())
    Thread(target=_end_with_stdin, daemon=True).start()
    module, _, name = request["part"].partition(":")
    try:
        reply = {"result": getattr(import_module(module), name)(**request["arguments"])}
    except LmcotError as error:
        reply = {"error": str(error)}
    with reply_to:
        json.dump(reply, reply_to)


def _end_with_stdin() -> None:
    """End this process when the one that started it is gone, however that came to its end."""
    sys.stdin.read()
    os._exit(1)
