"""Score given rationales as the reward does: those of rows, or those in an output of `lmcot answer`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lmcot_cli.datasets import fields
from lmcot_cli.datasets.reader import at_least_one, read_rows, read_source
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, RowError
from lmcot_cli.scoring.answers import optional_answer, sample_records
from lmcot_train.models import Opened, is_encoder_decoder
from lmcot_train.prompting import IGNORED, RationalePrompts, TokenizedExample
from lmcot_train.rewards.aspects import EQUAL_WEIGHTS, score_aspects, weighted_mean
from lmcot_train.rewards.chain import read_chain
from lmcot_train.rewards.penalties import loop_share, unsupported
from lmcot_train.rewards.reward import task_reward

BATCH = 16


@dataclass(frozen=True, slots=True)
class RationaleToScore:
    """A rationale to score, with the answer that it led to, if that is known."""

    row: Row
    rationale: str
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class ScoredRationale:
    """A rationale with its aspects and their mean.

    Attributes:
        task: R_task by exact match; None where gold or answer is not known.
        loops: Share of words that go round in circles.
        unsupported: How far the answer lacks support in the rationale; 0 where no answer is known.
    """

    given: RationaleToScore
    aspects: Mapping[str, float]
    aspect_mean: float
    task: float | None
    loops: float
    unsupported: float

    def to_record(self) -> dict[str, Any]:
        """Return the scores as one JSON object."""
        given, row = self.given, self.given.row
        return {
            "id": row.id,
            "question": row.question,
            "rationale": given.rationale,
            "answer": given.answer,
            "gold": list(row.answers) or None,
            "aspects": dict(self.aspects),
            "aspect_mean": self.aspect_mean,
            "task": self.task,
            "loops": self.loops,
            "unsupported": self.unsupported,
        }


def read_given(path: Path, questions: Path | None) -> list[RationaleToScore]:
    """Read the rationales of rows, or, with their questions, the samples of an output of `lmcot answer`.

    Raises:
        InputError: A file cannot be read, there is no rationale, or the question of an answer is missing.
    """
    found = list(_from_rows(path) if questions is None else _from_answers(path, questions))
    if not found:
        raise InputError(f"{path}: holds no rationale; for an output of lmcot answer give --questions too")
    return found


def score(
    given: Sequence[RationaleToScore],
    weights: Mapping[str, float] = EQUAL_WEIGHTS,
    logprobs: Sequence[float | None] | None = None,
) -> list[ScoredRationale]:
    """Score each rationale, without fluency if no log-probabilities are given."""
    known = logprobs or [None] * len(given)
    return [_scored(one, weights, logprob) for one, logprob in zip(given, known, strict=True)]


@torch.no_grad()
def mean_logprobs(
    reference: Opened, prompts: RationalePrompts, given: Sequence[RationaleToScore]
) -> list[float]:
    """Return the mean log-probability per token of each rationale and its end token under a model."""
    model = reference.model.eval()
    examples = [prompts.example(one.row, one.rationale) for one in given]
    batches = (examples[at : at + BATCH] for at in range(0, len(examples), BATCH))
    return [mean for batch in batches for mean in _batch_means(model, batch)]


def _batch_means(model: PreTrainedModel, examples: Sequence[TokenizedExample]) -> list[float]:
    encoder = is_encoder_decoder(model)
    columns = [example.columns(encoder=encoder) for example in examples]
    inputs = [one["input_ids"] for one in columns]
    labels = _padded([one["labels"] for one in columns], IGNORED)
    mask = _padded([[1] * len(ids) for ids in inputs], 0)
    logits = model(_padded(inputs, int(model.config.pad_token_id)), attention_mask=mask, labels=labels).logits
    if not encoder:
        labels, logits = labels[:, 1:], logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2).float(), labels, reduction="none")
    means: list[float] = (-losses.sum(1) / (labels != IGNORED).sum(1)).tolist()
    return means


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def _scored(given: RationaleToScore, weights: Mapping[str, float], logprob: float | None) -> ScoredRationale:
    chain = read_chain(given.row, given.rationale, given.answer, logprob)
    aspects = score_aspects(chain)
    judged = given.answer is not None and given.row.answers
    task = task_reward(given.answer, given.row.answers, "em") if judged else None
    mean = weighted_mean(aspects, weights)
    return ScoredRationale(given, aspects, mean, task, loop_share(chain.words), unsupported(chain))


def _from_rows(path: Path) -> Iterator[RationaleToScore]:
    for row in at_least_one(read_rows(path), path):
        if isinstance(row, BadRow):
            raise InputError(row.located(str(path)) + _hint(path))
        if row.rationale:
            yield RationaleToScore(row, row.rationale)


def _hint(path: Path) -> str:
    """Return what is missing if the file holds answers, which have no context, instead of rows."""
    first = next(iter(read_source(path)), None)
    answers = first is not None and not isinstance(first, BadRow) and "samples" in first.value
    return "; this is an output of lmcot answer: give its questions too, --questions FILE" if answers else ""


def _from_answers(path: Path, questions: Path) -> Iterator[RationaleToScore]:
    rows = {row.id: row for row in read_rows(questions) if isinstance(row, Row)}
    for record in at_least_one(read_source(path), path):
        if isinstance(record, BadRow):
            raise InputError(record.located(str(path)))
        row = rows.get(str(record.value.get("id")))
        if row is None:
            raise InputError(
                f"{path}:{record.line}: {questions} has no row {record.value.get('id')!r}: give the questions"
                " of these answers"
            )
        try:
            yield from _of_samples(row, record.value)
        except RowError as error:
            raise InputError(f"{path}:{record.line}: {error}") from error


def _of_samples(row: Row, record: Mapping[str, Any]) -> Iterator[RationaleToScore]:
    for sample in [] if record.get("error") else sample_records(record.get("samples")):
        rationale = fields.optional_text(sample, "rationale")
        if rationale:
            yield RationaleToScore(row, rationale, optional_answer(sample.get("answer")))
