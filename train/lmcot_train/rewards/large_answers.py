"""The large LM's answers to rationales: each prompt asked once, counted, and capped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from lmcot_cli.backends.base import Backend, Completion, Request
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, LmcotError, RowError
from lmcot_cli.pipeline.extract import answer_line
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.prompts.render import Prompts
from lmcot_train.run_folder import cannot_write


class LargeCallsSpentError(LmcotError):
    """More calls of the large LM are needed than `--max-large-calls` allows."""


class LargeAnswers:
    """Answers of a frozen large LM, greedy, as `lmcot answer --method guided` asks for them.

    Args:
        large: The large LM.
        prompts: The templates.
        max_calls: Most prompts to send; None is no limit.
        max_answer_tokens: Tokens an answer may take.
        memory: JSONL file that keeps replies between sessions, by a digest of model and prompt; its replies count
            as calls. None keeps them while the process lives.

    Attributes:
        calls: Prompts sent to the large LM, in earlier sessions too where there is a `memory`.
        hits: Prompts answered without a call.
        refused: Prompts of this session that the large LM could not take (too long, say); they have no answer.

    Raises:
        InputError: `memory` holds something else.
    """

    def __init__(
        self,
        large: Backend,
        prompts: Prompts,
        max_calls: int | None = None,
        max_answer_tokens: int = AnswerOptions().max_answer_tokens,
        memory: Path | None = None,
    ) -> None:
        self._large, self._prompts, self._max_calls, self._memory = large, prompts, max_calls, memory
        self._sampling = AnswerOptions(max_answer_tokens=max_answer_tokens).guided_answer_sampling
        self._identity = f"{large.identity.spec}\0{large.identity.digest}\0{max_answer_tokens}"
        self._known: dict[bytes, str | None] = _remembered(memory)
        self.calls, self.hits, self.refused = len(self._known), 0, 0

    def __call__(self, asked: Sequence[tuple[Row, str]]) -> list[str | None]:
        """Answer each row from its rationale.

        Returns:
            The answers; None where the large LM gave none or could not take the prompt.

        Raises:
            LargeCallsSpentError: There are more new prompts than calls left; none of them was sent.
            ModelError: The large LM as a whole cannot go on.
        """
        prompts = [self._prompts.render("guided_answer", row, rationale) for row, rationale in asked]
        keys = [self._key(prompt) for prompt in prompts]
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._known}
        self._check_cap(len(new))
        self._ask(new)
        self.hits += len(asked) - len(new)
        return [self._known[key] for key in keys]

    def _ask(self, new: dict[bytes, str]) -> None:
        requests = [Request(prompt, seed=0) for prompt in new.values()]
        replies = self._large.complete(requests, self._sampling) if requests else []
        self.calls += len(new)
        self.refused += sum(isinstance(reply, RowError) for reply in replies)
        replied = dict(zip(new, replies, strict=True))
        self._known |= {key: _answer(reply) for key, reply in replied.items()}
        self._remember(key for key, reply in replied.items() if isinstance(reply, Completion))

    def _check_cap(self, wanted: int) -> None:
        if self._max_calls is not None and self.calls + wanted > self._max_calls:
            raise LargeCallsSpentError(
                f"--max-large-calls {self._max_calls}: {self.calls} calls are made and {wanted} more are needed;"
                " what was trained so far is kept: give a higher number to go on"
            )

    def _key(self, prompt: str) -> bytes:
        return blake2b(f"{self._identity}\0{prompt}".encode("utf-8", "replace"), digest_size=16).digest()

    def _remember(self, keys: Iterable[bytes]) -> None:
        if self._memory is None:
            return
        lines = [json.dumps({"key": key.hex(), "answer": self._known[key]}) + "\n" for key in keys]
        try:
            with self._memory.open("a", encoding="utf-8") as file:
                file.writelines(lines)
        except OSError as error:
            raise cannot_write(self._memory, error) from error


def _answer(reply: Completion | RowError) -> str | None:
    return None if isinstance(reply, RowError) else answer_line(reply.text)


def _remembered(memory: Path | None) -> dict[bytes, str | None]:
    """Read the replies of earlier sessions, and cut off a last line that was torn when one was killed."""
    if memory is None or not memory.is_file():
        return {}
    content = memory.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        records = [json.loads(line) for line in whole.splitlines()]
        os.truncate(memory, len(whole))
        return {bytes.fromhex(record["key"]): record["answer"] for record in records}
    except OSError as error:
        raise cannot_write(memory, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{memory}: holds something else than replies; remove it") from error
