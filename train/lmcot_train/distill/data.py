"""From a file of rationales to token ids: read, split by question, tokenize, and order by length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler

from lmcot_cli.datasets.reader import at_least_one, read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError
from lmcot_train.prompting import RationalePrompts, TokenizedExample

IGNORED = -100
"""Label of a token that is not learned."""
_SORTED_BATCHES = 50


def read_rationales(path: Path) -> list[Row]:
    """Read the rows that bring a rationale.

    Raises:
        InputError: The file cannot be read, holds a bad row, or no row of it brings a rationale.
    """
    rows = []
    count = 0
    for row in at_least_one(read_rows(path), path):
        if isinstance(row, BadRow):
            raise InputError(row.located(str(path)))
        count += 1
        if row.rationale:
            rows.append(row)
    if not rows:
        raise InputError(
            f"{path}: none of its {count} rows has a rationale: write some with lmcot train rationales, with"
            " filters that leave some"
        )
    return rows


def split(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Part rows into those to learn from and those to validate on; the rows of a question stay together.

    Which are which depends on the questions and the seed alone, not on their order.

    Raises:
        InputError: There are not enough questions for both.
    """
    if share == 0:
        return list(rows), []
    questions = sorted({row.question for row in rows}, key=lambda text: _rank(text, seed))
    if len(questions) < 2:
        raise InputError(
            f"{len(questions)} question is not enough to train and to validate: use --validation-share 0"
        )
    kept = set(questions[: min(max(1, round(share * len(questions))), len(questions) - 1)])
    return [row for row in rows if row.question not in kept], [row for row in rows if row.question in kept]


def _rank(question: str, seed: int) -> bytes:
    return blake2b(f"{seed}\0{question}".encode("utf-8", "replace"), digest_size=16).digest()


def tokenize(
    rows: Sequence[Row], prompts: RationalePrompts, columns: Columns, most: int | None
) -> tuple[Dataset, int]:
    """Turn rows into a data set of token ids; rows of more than `most` tokens are left out.

    Returns:
        The data set, and how many rows were left out.
    """
    examples = [prompts.example(row, row.rationale) for row in rows if row.rationale]
    fitting = [one for one in examples if most is None or len(one.prompt) + len(one.completion) <= most]
    return Dataset.from_list([columns(one) for one in fitting]), len(examples) - len(fitting)


Columns = Callable[[TokenizedExample], dict[str, Any]]
"""How an example stands in a data set."""


def causal_columns(example: TokenizedExample) -> dict[str, Any]:
    """Put prompt and completion one after the other; only the completion is learned."""
    return {
        "input_ids": [*example.prompt, *example.completion],
        "labels": [*[IGNORED] * len(example.prompt), *example.completion],
    }


def encoder_columns(example: TokenizedExample) -> dict[str, Any]:
    """Give the prompt to the encoder and the completion to the decoder."""
    return {
        "input_ids": example.prompt,
        "attention_mask": [1] * len(example.prompt),
        "labels": example.completion,
    }


class SimilarLengths(Sampler[int]):
    """Indices in random order, so that the rows of a batch are about equally long and little is padding.

    The order depends on seed and epoch alone: a resumed run, and one of more processes, see the same batches. Rows that
    fill no batch are left out of an epoch, others in each, unless there are no more than these.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of a step, over all processes.
        seed: Seeds the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._epoch = 0

    def __len__(self) -> int:
        count = len(self._lengths)
        return count - count % self._batch_size if count > self._batch_size else count

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; every epoch has its own."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        random = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=random)[: len(self)].tolist()
        pool = self._batch_size * _SORTED_BATCHES
        similar = [
            index
            for start in range(0, len(order), pool)
            for index in sorted(order[start : start + pool], key=self._lengths.__getitem__)
        ]
        starts = range(0, len(order), self._batch_size)
        for batch in torch.randperm(len(starts), generator=random).tolist():
            yield from similar[starts[batch] : starts[batch] + self._batch_size]
