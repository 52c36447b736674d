"""The large LM's answers to rationales: each prompt asked once, counted, and capped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from lmcot_cli.backends.base import Backend, Completion, Reply, Request
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, LmcotError, RowError
from lmcot_cli.pipeline.extract import answer_line
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_train.run_folder import append_records, cannot_write

_READING = 2
"""Counts the ways in which answers were read, so that a memory holds none that were read in an old way."""


class LargeCallsSpentError(LmcotError):
    """More calls of the large LM are needed than `--max-large-calls` allows."""


class LargeAnswers:
    """Greedy answers of a frozen large LM, as `lmcot answer --method guided` asks for them.

    Args:
        large: The large LM.
        prompts: Builds the prompts.
        max_calls: Maximum prompts to send; None is no limit.
        max_answer_tokens: Maximum tokens per answer.
        memory: JSONL file that keeps prompts and replies between sessions, by a digest of model and prompt. None keeps
            them in memory only.

    Attributes:
        calls: Prompts handed to the large LM, including those of earlier sessions (where there is a `memory`) and those
            that had no reply yet when a session ended.
        hits: Prompts answered without a call.
        refused: Prompts of this session that the large LM could not take (too long, say); they have no answer.

    Raises:
        InputError: `memory` holds something else.
    """

    def __init__(
        self,
        large: Backend,
        prompts: PromptBuilder,
        max_calls: int | None = None,
        max_answer_tokens: int = AnswerOptions().max_answer_tokens,
        memory: Path | None = None,
    ) -> None:
        self._large, self._prompts, self._max_calls, self._memory = large, prompts, max_calls, memory
        sampling = AnswerOptions(max_answer_tokens=max_answer_tokens).sampling_of("guided_answer")
        model, thinking = large.identity, (sampling.thinking, sampling.max_thinking_tokens)
        identity = (model.spec, model.digest, max_answer_tokens, sampling.stop, *thinking, _READING)
        self._sampling, self._identity = sampling, "\0".join(map(str, identity))
        self._markers = prompts.markers("guided_answer")
        self._known, self.calls = _remembered(memory)
        self.hits, self.refused = 0, 0

    def __call__(self, asked: Sequence[tuple[Row, str]]) -> list[str | None]:
        """Answer each row from its rationale: None where the large LM gives no answer or cannot take the prompt.

        Raises:
            LargeCallsSpentError: There are more new prompts than calls left; none of them was sent.
            ModelError: The large LM as a whole cannot continue.
        """
        requests = [self._prompts.request("guided_answer", row, rationale) for row, rationale in asked]
        keys = [self._key(request) for request in requests]
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in self._known}
        self._check_cap(len(new))
        self._ask(new)
        self.hits += len(asked) - len(new)
        return [self._known[key] for key in keys]

    def _ask(self, new: dict[bytes, Request]) -> None:
        if not new:
            return
        keys, requests = list(new), list(new.values())
        arriving = self._served if self._large.in_background else self._here
        for replies in arriving(keys, requests):
            self.refused += sum(isinstance(reply, RowError) for _, reply in replies)
            self._known |= {keys[ticket]: self._answer(reply) for ticket, reply in replies}
            kept = [keys[ticket] for ticket, reply in replies if isinstance(reply, Completion)]
            self._remember({"key": key.hex(), "answer": self._known[key]} for key in kept)

    def _served(self, keys: Sequence[bytes], requests: Sequence[Request]) -> Iterator[list[Reply]]:
        """Yield replies as they come, so that a session that ends between them need not pay for them again."""
        handed_in = 0
        while handed_in < len(requests) or self._large.pending:
            room = max(self._large.window - self._large.pending, 0)
            next_ones = range(handed_in, min(handed_in + room, len(requests)))
            self._count([keys[ticket] for ticket in next_ones])
            for ticket in next_ones:
                self._large.submit(ticket, requests[ticket], self._sampling)
            handed_in += len(next_ones)
            yield self._large.poll()

    def _here(self, keys: Sequence[bytes], requests: Sequence[Request]) -> Iterator[list[Reply]]:
        """Yield the replies of a model on this machine all at once.

        Which prompts share a batch decides the last bits, and so near-tied tokens: a resume that asked for a part only
        could learn from other answers than an uninterrupted run.
        """
        self._count(keys)
        yield list(enumerate(self._large.complete(requests, self._sampling)))

    def _count(self, keys: Sequence[bytes]) -> None:
        """Count prompts as calls before they are sent: lost ones may have been paid for."""
        self.calls += len(keys)
        self._remember({"asked": key.hex()} for key in keys)

    def _check_cap(self, wanted: int) -> None:
        if self._max_calls is not None and self.calls + wanted > self._max_calls:
            raise LargeCallsSpentError(
                f"--max-large-calls {self._max_calls}: {self.calls} calls were made and {wanted} more are needed;"
                " what was trained so far is kept: give a higher number to continue"
            )

    def _key(self, request: Request) -> bytes:
        before = request.system or request.shots
        asked = json.dumps(request.messages) if before else request.prompt
        return blake2b(f"{self._identity}\0{asked}".encode("utf-8", "replace"), digest_size=16).digest()

    def _answer(self, reply: Completion | RowError) -> str | None:
        if isinstance(reply, RowError):
            return None
        return answer_line(self._prompts.own_words("guided_answer", reply.text), self._markers)

    def _remember(self, records: Iterable[dict[str, str | None]]) -> None:
        if self._memory:
            append_records(self._memory, records)


def _remembered(memory: Path | None) -> tuple[dict[bytes, str | None], int]:
    """Read the replies of earlier sessions and count their calls; remove a line that was cut off by a kill.

    A reply that no line says was asked for is that of an old version; it counts, too.
    """
    if memory is None or not memory.is_file():
        return {}, 0
    try:
        content = memory.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        records = [json.loads(line) for line in whole.splitlines()]
        os.truncate(memory, len(whole))
        asked = [bytes.fromhex(record["asked"]) for record in records if "asked" in record]
        known = {bytes.fromhex(one["key"]): one["answer"] for one in records if "asked" not in one}
        return known, len(asked) + len(known.keys() - set(asked))
    except OSError as error:
        raise cannot_write(memory, error) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{memory}: holds something other than replies; remove it") from error
