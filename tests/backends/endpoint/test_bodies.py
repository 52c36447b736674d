"""Bodies are read within limits: each its own, and all together one of memory."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import zlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from hostile_server import bomb

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.bodies import ERROR_BYTES, MOST_MARKS, Bodies, BodyError, marks_in
from lmcot_cli.backends.endpoint.message import LONGEST_TEXT, Said, without_tags
from lmcot_cli.backends.endpoint.reply import UnusableReplyError, read_reply
from lmcot_cli.backends.endpoint.stream import joined
from lmcot_cli.errors import RowError

MIB = 2**20
CHUNK = 2**16


class Reply:
    """A reply that comes in chunks, with a turn for the others between them."""

    def __init__(
        self, *chunks: bytes, times: int = 1, status: int = 200, encoding: str = "", pause: float = 0.0
    ) -> None:
        self.status_code, self.headers = status, {"content-encoding": encoding} if encoding else {}
        self._chunks, self._times, self._pause = chunks, times, pause
        self.sent = 0

    async def aiter_raw(self) -> AsyncGenerator[bytes, None]:
        for _ in range(self._times):
            for chunk in self._chunks:
                await asyncio.sleep(self._pause)
                self.sent += len(chunk)
                yield chunk


def read(reply: Reply, most: int = MIB) -> bytes:
    return asyncio.run(Bodies(most).read(reply))


def figure(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def peak_of(work: Callable[[], object]) -> int:
    """Return the bytes that work takes at most beyond what there was."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("nothing says here how much memory was taken at most")
    before = figure("VmRSS")
    work()
    return figure("VmHWM") - before


def test_a_body_of_full_size_fits_and_one_byte_more_does_not() -> None:
    assert len(read(Reply(b"a" * CHUNK, times=16))) == MIB
    with pytest.raises(BodyError, match="more than 1 MiB") as caught:
        read(Reply(b"a" * CHUNK, b"b", times=16))
    assert caught.value.final


def test_no_more_is_read_than_is_needed_to_see_that_it_is_too_much() -> None:
    reply = Reply(b"a" * CHUNK, times=1000)
    with pytest.raises(BodyError):
        read(reply)
    assert reply.sent <= MIB + CHUNK


def test_a_length_that_is_too_much_is_not_waited_for() -> None:
    reply = Reply(b"a")
    reply.headers = {"content-length": str(MIB + 1)}
    with pytest.raises(BodyError, match="more than 1 MiB"):
        read(reply)
    assert reply.sent == 0


def test_of_an_error_only_the_beginning_is_read() -> None:
    reply = Reply(b"a" * CHUNK, times=1000, status=500)
    assert read(reply) == b"a" * ERROR_BYTES
    assert reply.sent <= ERROR_BYTES + CHUNK


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, MIB])
def test_gzip_of_any_size_is_read(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert read(Reply(zlib.compress(content, wbits=31), encoding="gzip")) == content


def test_a_bomb_is_noticed_when_it_is_as_large_as_a_body_may_be() -> None:
    beginning, piece = bomb(b"a" * 64 * MIB)
    reply = Reply(beginning, piece, times=16, encoding="gzip")

    def explode() -> None:
        with pytest.raises(BodyError, match="more than 1 MiB"):
            read(reply)

    assert peak_of(explode) < 8 * MIB


@pytest.mark.parametrize("count", [2, 64, 256])
def test_bodies_in_flight_take_twice_what_one_may_however_many_they_are(count: int) -> None:
    """256 bodies of 16 MiB are 4 GiB; what is beyond 32 MiB here is chunks on their way, and tasks."""

    async def flood() -> list[bytes | BaseException]:
        bodies = Bodies(16 * MIB)
        floods = (Reply(b"a" * CHUNK, times=10_000) for _ in range(count))
        return await asyncio.gather(*map(bodies.read, floods), return_exceptions=True)

    def work() -> None:
        assert all(isinstance(one, BodyError) for one in asyncio.run(flood()))

    assert peak_of(work) < (32 + 16 + count // 4) * MIB


def test_bodies_that_are_each_as_large_as_may_be_all_come_through() -> None:
    """None waits for ever for room that another holds which waits, too."""

    async def many() -> list[int]:
        bodies = Bodies(MIB)
        lengths = []

        async def one() -> None:
            lengths.append(len(await bodies.read(Reply(b"a" * CHUNK, times=16, pause=0.001))))

        await asyncio.gather(*(one() for _ in range(20)))
        return lengths

    assert asyncio.run(asyncio.wait_for(many(), 60)) == [MIB] * 20


def test_what_was_given_up_leaves_its_room_to_others() -> None:
    async def some() -> bytes:
        bodies = Bodies(MIB)
        stuck = [
            asyncio.ensure_future(bodies.read(Reply(b"a" * CHUNK, times=15, pause=0.002))) for _ in range(8)
        ]
        await asyncio.sleep(0.05)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        one, other = await asyncio.gather(*(bodies.read(Reply(b"a" * CHUNK, times=16)) for _ in range(2)))
        return one + other

    assert len(asyncio.run(asyncio.wait_for(some(), 60))) == 2 * MIB


def test_others_have_their_turn_while_a_flood_comes_without_a_pause() -> None:
    class Flood(Reply):
        async def aiter_raw(self) -> AsyncGenerator[bytes, None]:
            while True:
                yield b"a"

    async def timed() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await Bodies(MIB * 1000).read(Flood())
        return time.monotonic() - began

    assert asyncio.run(timed()) < 10.0


def choices(content: bytes) -> bytes:
    return b'{"choices": [{"finish_reason": "stop", "message": {"content": ' + content + b"}}]}"


def outcome(body: bytes) -> object:
    """Return what becomes of a body, in the order of the client."""
    if marks_in(body) > MOST_MARKS:
        return "intricate"
    try:
        return read_reply(joined(body), Request("a", 0), Sampling(), 1).replies[0]
    except UnusableReplyError as error:
        return str(error)


COSTLY: dict[str, bytes] = {
    "lists": b'{"x": [' + b"[]," * 5_000_000 + b"[]]}",
    "as many lists as may be": choices(b"[" + b"[]," * (MOST_MARKS // 2 - 10) + b"[]]"),
    "as many choices as may be": b'{"choices": [' + b'{"text": ""},' * (MOST_MARKS // 3 - 10) + b"{}]}",
    "a million choices": b'{"choices": [' + b"{}," * 1_000_000 + b"{}]}",
    "deep": choices(b"[" * 500_000),
    "a huge number": choices(b'"a"')[:-1] + b', "usage": ' + b"9" * 15_000_000 + b"}",
    "a giant string": choices(b'"' + b"a" * 15_000_000 + b'"'),
    "white space": choices(b'"' + b" " * 15_000_000 + b'"'),
    "white space that is just not too long": choices(b'"' + b" " * LONGEST_TEXT + b'"'),
    "ends of a reply": choices(b'"' + b"</s> " * (LONGEST_TEXT // 5) + b'a"'),
    "events": b'data: {"choices": [{"delta": {"content": "aaaaaa"}}]}\n' * 60_000,
    "signs of life": b":\n" * 7_000_000,
    "ends of lines": b"data: {}" + b"\n" * 15_000_000,
    "choices of a stream": b"".join(
        b'data: {"choices": [{"index": %d, "text": "a"}]}\n' % index for index in range(80_000)
    ),
    "null": b"\0" * 15_000_000,
}


@pytest.mark.parametrize("body", COSTLY.values(), ids=COSTLY)
def test_what_a_body_holds_is_read_in_bounded_time_and_memory(body: bytes) -> None:
    found = list[object]()
    began = time.process_time()
    assert peak_of(lambda: found.append(outcome(body))) < 150 * MIB
    assert time.process_time() - began < 10
    assert isinstance(found[0], str | RowError | Completion)


def test_a_body_of_too_many_values_is_left_as_soon_as_that_shows() -> None:
    assert len(read(Reply(b"," * CHUNK, times=8))) == MOST_MARKS
    reply = Reply(b"," * CHUNK, times=1000)
    with pytest.raises(BodyError, match="more values than any completion has") as caught:
        read(reply, 16 * MIB)
    assert caught.value.final
    assert reply.sent == MOST_MARKS + CHUNK


def test_log_probabilities_of_many_tokens_are_not_too_intricate() -> None:
    token = {"token": " the", "logprob": -0.25, "bytes": [32, 116, 104, 101], "top_logprobs": []}
    body = {"choices": [{"message": {"content": "a"}, "logprobs": {"content": [token] * 32_000}}]}
    assert marks_in(json.dumps(body).encode()) <= MOST_MARKS


def test_a_text_that_no_model_writes_is_not_kept() -> None:
    assert without_tags(Said("a" * LONGEST_TEXT)).text
    over = without_tags(Said("a" * LONGEST_TEXT, "b"))
    assert (over.text, over.thought) == ("", "")
    assert "more than 1,048,576 characters" in str(over.fault("stop"))


@pytest.mark.parametrize("end", ["</s>", " </s>\n", "</s></s> </s>", "<|im_end|>\nmore", "<end_of_turn>"])
def test_what_ends_a_reply_is_cut_off(end: str) -> None:
    assert without_tags(Said(f"Lyon{end}")).text == "Lyon"


@pytest.mark.parametrize("text", ["a </s> b", "</s> a", "a  b ", "<s>"])
def test_what_only_looks_like_an_end_stays(text: str) -> None:
    assert without_tags(Said(text)).text == text
