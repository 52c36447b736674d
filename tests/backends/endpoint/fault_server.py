"""An OpenAI-compatible server that fails in every way that endpoints do, at random from a seed.

It counts what arrives, so that a test can say whether a client kept to the limits, and its replies follow from
prompt and seed, so that a test can say whether every request got its own. It runs in a process of its own
(`running`), for a client that is measured is not to share its interpreter with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import Random
from typing import Any

MODEL = "m"
CLOSING = "connection: close\r\n"
FAULT_NAMES = (
    "refused", "broken", "dropped", "truncated", "late", "empty", "unavailable", "cut", "silent",
)  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """What the server does.

    Attributes:
        seed: Of the faults' order.
        refused, broken, dropped, truncated, late, empty: Shares of requests answered by 429 with Retry-After, by 500,
            by closing the connection, by half a JSON text, after `late_seconds`, without a choice.
        unavailable, cut, silent: Shares answered by 503, by a body that ends before it is whole, and not at all.
        retry_after: Seconds that a 429 asks for.
        latency: Seconds that a good reply takes.
        room: Requests it works on at once; another is refused with 429. 0 is no bound.
        limit: Requests it takes in any `period`; another is refused with 429. 0 is no bound.
        period: Seconds.
        key: The key it wants; none if empty.
        echo: Whether replies repeat the key.
        choices: Most choices of one reply.
        down_from, down_for: Request after which it answers 503 only, and for how many seconds.
    """

    seed: int = 0
    refused: float = 0.0
    broken: float = 0.0
    dropped: float = 0.0
    truncated: float = 0.0
    late: float = 0.0
    empty: float = 0.0
    unavailable: float = 0.0
    cut: float = 0.0
    silent: float = 0.0
    retry_after: float = 0.1
    late_seconds: float = 1.0
    latency: float = 0.0
    room: int = 0
    limit: int = 0
    period: float = 60.0
    key: str = ""
    echo: bool = False
    choices: int = 1
    down_from: int = 0
    down_for: float = 0.0


FAULTS = Setup(refused=0.10, broken=0.05, dropped=0.03, truncated=0.02, late=0.02, empty=0.01)
SIX_FAULTS = Setup(refused=0.05, broken=0.03, unavailable=0.03, dropped=0.02, truncated=0.02, cut=0.02)
"""17% of calls; what is left out is the silence beside them."""


@dataclass
class Stats:
    """What arrived.

    Attributes:
        requests: Calls of the model.
        most_in_a_period: The most of them that arrived in any period.
        most_at_once: The most that were worked on at the same time.
        connections: Connections opened.
        over_limit: Requests refused for the limit of a period, or for want of room.
        seconds: From the first to the last.
        faults: How often each was dealt out.
        answered: How many requests were answered well, by how often: {"1": all} if none was answered twice.
    """

    requests: int
    most_in_a_period: int
    most_at_once: int
    connections: int
    over_limit: int
    seconds: float
    faults: dict[str, int]
    answered: dict[str, int]


def text_of(prompt: str, seed: int, index: int = 0) -> str:
    """Return the text that answers a prompt: nonsense, but to the question that is asked first of all."""
    if "Where is Valsen Press based?" in prompt:
        return "West Falmouth"
    return "reply " + hashlib.sha256(f"{prompt}|{seed}|{index}".encode()).hexdigest()[:16]


class FaultServer:
    """The server; see `Setup`."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.random = Random(setup.seed)
        self.arrivals: list[float] = []
        self.recent: deque[float] = deque()
        self.at_once = self.most_at_once = self.connections = self.over_limit = 0
        self.faults: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.down_until: float | None = None

    async def serve(self) -> None:
        """Serve on a free port, which is printed, until the process ends."""
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                reply = await self.answer(head.split(" ")[1], headers, body, reader)
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
                if CLOSING.encode() in reply:
                    break
        writer.close()

    async def answer(
        self, path: str, headers: dict[str, str], body: bytes, reader: asyncio.StreamReader
    ) -> bytes | None:
        """Return the bytes of a reply; None closes the connection."""
        if path == "/stats":
            return http(200, asdict(self.stats()))
        if self.setup.key and headers.get("authorization") != f"bearer {self.setup.key}".lower():
            return http(401, {"error": {"message": f"wrong key: {headers.get('authorization')}"}})
        if path == "/v1/models":
            return http(200, {"object": "list", "data": [{"id": MODEL}, {"id": "another"}]})
        if path not in ("/v1/chat/completions", "/v1/completions"):
            return http(404, {"error": {"message": "no such route"}})
        self.arrivals.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self.complete(json.loads(body), headers.get("authorization", ""), reader)
        finally:
            self.at_once -= 1

    async def complete(self, call: dict[str, Any], key: str, reader: asyncio.StreamReader) -> bytes | None:
        """Answer a call of the model, well or badly; what is said of errors repeats the key, as some servers do."""
        if self.is_down():
            return http(503, {"error": {"message": "overloaded"}})
        if self.over():
            self.over_limit += 1
            return http(
                429, {"error": {"message": "too many requests"}}, f"retry-after: {self.setup.retry_after}\r\n"
            )
        if "malformed" in self.prompt(call):
            return http(400, {"error": {"message": f"cannot read this, {key}"}})
        fault = self.draw()
        self.faults[fault or "none"] += 1
        if fault == "refused":
            return http(
                429, {"error": {"message": "slow down"}}, f"retry-after: {self.setup.retry_after}\r\n"
            )
        if fault == "broken":
            return http(500, {"error": {"message": f"oops, {key}"}})
        if fault == "unavailable":
            return http(503, {"error": {"message": "overloaded"}})
        if fault == "dropped":
            return None
        if fault == "silent":
            await reader.read()  # until the client has had enough
            return None
        if fault == "late":
            await asyncio.sleep(self.setup.late_seconds)
        elif self.setup.latency:
            await asyncio.sleep(self.setup.latency)
        reply = self.reply(call, key if self.setup.echo else "")
        if fault == "empty":
            reply["choices"] = []
        if fault is None:
            self.answered[self.prompt(call) + str(call["seed"])] += 1
        content = json.dumps(reply).encode()
        if fault == "cut":
            return http(200, content, CLOSING)[:-10]
        return http(200, content[: len(content) // 2] if fault == "truncated" else content)

    def is_down(self) -> bool:
        """Whether the time of being down has come, and is not over."""
        if not self.setup.down_for or len(self.arrivals) <= self.setup.down_from:
            return False
        self.down_until = self.down_until or time.monotonic() + self.setup.down_for
        return time.monotonic() < self.down_until

    def over(self) -> bool:
        """Whether a request is one too many for the period or the room."""
        now = time.monotonic()
        while self.recent and self.recent[0] <= now - self.setup.period:
            self.recent.popleft()
        self.recent.append(now)
        too_often = 0 < self.setup.limit < len(self.recent)
        return too_often or 0 < self.setup.room < self.at_once

    def draw(self) -> str | None:
        """Draw what befalls a request."""
        drawn = self.random.random()
        for fault in FAULT_NAMES:
            drawn -= getattr(self.setup, fault)
            if drawn < 0:
                return fault
        return None

    def prompt(self, call: dict[str, Any]) -> str:
        """Return a call's prompt, whichever API it is of."""
        found = call["prompt"] if "prompt" in call else call["messages"][0]["content"]
        assert isinstance(found, str)
        return found

    def reply(self, call: dict[str, Any], echo: str) -> dict[str, Any]:
        """Write a good reply, with an echo at its end."""
        choices = []
        for index in range(min(call.get("n", 1), self.setup.choices)):
            text = text_of(self.prompt(call), call["seed"], index) + echo
            choice: dict[str, Any] = {"index": index, "finish_reason": "stop"}
            if "prompt" in call:
                choice |= {"text": text, "logprobs": {"token_logprobs": [-0.25, -0.75]}}
            else:
                choice["message"] = {"role": "assistant", "content": text}
                choice["logprobs"] = {"content": [{"token": "a", "logprob": -0.5}] * 2}
            choices.append(choice)
        usage = {"prompt_tokens": 7, "completion_tokens": 2 * len(choices)}
        return {"object": "x", "model": call["model"], "choices": choices, "usage": usage}

    def stats(self) -> Stats:
        """Sum up what arrived."""
        most, window = 0, deque[float]()
        for arrival in self.arrivals:
            window.append(arrival)
            while window[0] <= arrival - self.setup.period:
                window.popleft()
            most = max(most, len(window))
        seconds = self.arrivals[-1] - self.arrivals[0] if self.arrivals else 0.0
        answered = Counter(str(times) for times in self.answered.values())
        return Stats(
            len(self.arrivals), most, self.most_at_once, self.connections, self.over_limit, seconds,
            dict(self.faults), dict(answered),
        )  # fmt: skip


def http(status: int, content: dict[str, Any] | bytes, headers: str = "") -> bytes:
    """Write an HTTP reply."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        url: Where its API starts.
        pid: Its process.
    """

    url: str
    pid: int

    def stats(self) -> Stats:
        """Ask what has arrived so far."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats", timeout=30) as reply:
            return Stats(**json.loads(reply.read()))


@contextmanager
def running(setup: Setup) -> Iterator[Running]:
    """Run a server in a process of its own."""
    words = [f"--{name}={value}" for name, value in asdict(setup).items() if value]
    with subprocess.Popen([sys.executable, str(Path(__file__)), *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield Running(f"http://127.0.0.1:{int(process.stdout.readline())}/v1", process.pid)
        finally:
            process.kill()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser()
    for field in fields(Setup):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    with suppress(KeyboardInterrupt):
        asyncio.run(FaultServer(Setup(**vars(parser.parse_args()))).serve())


if __name__ == "__main__":
    main()
