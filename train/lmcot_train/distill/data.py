"""Turn a file of rationales into token ids: read, split by question, tokenize, order by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import torch
from datasets import Dataset
from torch.utils.data import Sampler

from lmcot_cli.datasets.reader import at_least_one, read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError
from lmcot_train.prompting import RationalePrompts

_SORTED_BATCHES = 50


def read_rationales(path: Path) -> list[Row]:
    """Read the rows that have a rationale.

    Raises:
        InputError: The file cannot be read, holds a bad row, or has no rationale.
    """
    rows = []
    for row in at_least_one(read_rows(path), path):
        if isinstance(row, BadRow):
            raise InputError(row.located(str(path)))
        rows.append(row)
    with_rationale = [row for row in rows if row.rationale]
    if not with_rationale:
        raise InputError(
            f"{path}: none of its {len(rows)} rows has a rationale: collect some with lmcot train rationales, with"
            " filters that leave some"
        )
    return with_rationale


def split(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Split rows into those to learn from and those to validate on; the rows of a question stay together.

    The split depends on the questions and the seed, not on the order of rows.

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
    rows: Sequence[Row], prompts: RationalePrompts, most: int | None, *, encoder: bool
) -> tuple[Dataset, int]:
    """Turn rows of up to `most` tokens into a data set; return it, and how many rows were left out."""
    examples = [prompts.example(row, row.rationale) for row in rows if row.rationale]
    fitting = [one for one in examples if most is None or len(one.prompt) + len(one.completion) <= most]
    return Dataset.from_list([one.columns(encoder=encoder) for one in fitting]), len(examples) - len(fitting)


class SimilarLengths(Sampler[int]):
    """Indices in random order, with rows of similar length in a batch, so that there is little padding.

    The order depends on seed and epoch alone: a resumed run, and one with more processes, see the same batches. Rows
    that do not fill a batch are left out, others in each epoch, unless there are no others.

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
        """Choose the epoch, each of which has its own order."""
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
