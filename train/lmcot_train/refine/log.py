"""The log of a refining run: the figures of every update, and the rationales with their rewards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmcot_cli.files import replace_file
from lmcot_train.curves import read_metrics
from lmcot_train.rollouts.judge import JudgedRationale
from lmcot_train.run_folder import CHECKPOINTS_KEPT, RunFolder, append_records

PANELS = {
    "Reward": ("reward", "validation_reward"),
    "Share of right answers": ("task", "validation_task"),
    "KL to the reference, nats per rationale": ("kl", "kl_k3"),
    "Entropy, nats per token": ("entropy",),
    "Share of tokens clipped": ("clip_fraction",),
    "Explained variance of the values": ("explained_variance",),
}
"""The panels of `curves.png`."""


class Log:
    """Writes `metrics.jsonl` and `samples.jsonl` of a run.

    Args:
        folder: The run.
        update: The update from which the run continues; what was logged after it is removed, for it is made again.

    Raises:
        InputError: A line of what was logged is damaged.
        OutputError: A file cannot be written.
    """

    def __init__(self, folder: RunFolder, update: int) -> None:
        self._folder = folder
        for path in (folder.metrics, folder.samples):
            _cut(path, update)

    def write(self, figures: Mapping[str, float], judged: Sequence[JudgedRationale]) -> None:
        """Append an update.

        Raises:
            OutputError: A file cannot be written.
        """
        append_records(self._folder.metrics, [{"step": figures["update"], **figures}])
        append_records(self._folder.samples, [sample_record(one, int(figures["update"])) for one in judged])


def sample_record(judged: JudgedRationale, update: int) -> dict[str, Any]:
    """Return the record of a rationale in `samples.jsonl`."""
    item, reward = judged.item, judged.reward
    return {
        "update": update,
        "id": item.row.id,
        "question": item.row.question,
        "gold": list(item.row.answers),
        "rationale": item.rationale,
        "answer": reward.answer,
        "finished": item.finished,
        "reward": reward.total,
        "task": reward.task,
        "aspects": dict(reward.aspects),
        "penalties": dict(reward.penalties),
        "reference_logprob": item.logprob,
    }


def _cut(path: Path, update: int) -> None:
    """Remove what was logged after `update`, or everything if the run begins anew."""
    records = read_metrics(path, "update") if update > 0 else []
    kept = [record for record in records if record["update"] <= update]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    replace_file(path, text.encode(), CHECKPOINTS_KEPT)
