"""Measure the endpoint backend against the fault server, by hand: `python measure.py --help`.

python measure.py --rows 10000 --rpm 12000 --latency 0.02 --faults --request-timeout 1
python measure.py --rows 8000 --latency 0.2 --room 64
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import replace

from fault_server import FAULTS, MODEL, Setup, running, text_of

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.backends.endpoint.options import EndpointOptions

SAMPLING = Sampling(max_tokens=8)


def request(row: int) -> Request:
    """Make a prompt of a thousand characters."""
    return Request(f"prompt {row} {'x' * 1000}", row % 7)


def ask_all(backend: EndpointBackend, rows: int) -> dict[int, object]:
    """Ask for every row, no more than the window at a time."""
    replies: dict[int, object] = {}
    handed_in = 0
    while len(replies) < rows:
        while handed_in < rows and backend.pending < backend.window:
            backend.submit(handed_in, request(handed_in), SAMPLING)
            handed_in += 1
        for row, reply in backend.poll():
            assert row not in replies, f"row {row} twice"
            replies[row] = reply
    return replies


def right(row: int, reply: object) -> bool:
    """Whether a row got the reply that is its own."""
    asked = request(row)
    return isinstance(reply, Completion) and reply.text == text_of(asked.prompt, asked.seed)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rpm", type=int, default=0, help="limit of server and client; 0 is none")
    parser.add_argument("--latency", type=float, default=0.02)
    parser.add_argument(
        "--room", type=int, default=0, help="requests the server works on at once; 0 is no bound"
    )
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--request-timeout", type=float, default=5.0)
    return parser.parse_args()


def main() -> None:
    """Measure once, and print what was seen."""
    logging.basicConfig(level=logging.WARNING)
    given = arguments()
    setup = replace(
        FAULTS if given.faults else Setup(),
        limit=given.rpm,
        latency=given.latency,
        room=given.room,
        late_seconds=1.5 * given.request_timeout,
        retry_after=0.2,
    )
    options = EndpointOptions(rpm=given.rpm or None, request_timeout=given.request_timeout)
    with running(setup) as server, EndpointBackend(Address(server.url, MODEL), options) as backend:
        started = time.monotonic()
        replies = ask_all(backend, given.rows)
        seconds = time.monotonic() - started
        stats = server.stats()
    print(f"{len(replies)} rows in {seconds:.1f} s, {sum(not right(*one) for one in replies.items())} wrong")
    if given.rpm:
        print(f"{stats.requests / seconds / (given.rpm / 60):.1%} of the limit in use")
    if given.room:
        print(f"{seconds / (given.rows * given.latency / given.room):.2f} times the ideal time")
    print(stats)
    print(backend.counters)


if __name__ == "__main__":
    main()
