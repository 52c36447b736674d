"""What a refining run leaves to read: figures of every update, and the rationales with their rewards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmcot_cli.files import replace_file
from lmcot_train.curves import read_metrics
from lmcot_train.rollouts.judge import Judged
from lmcot_train.run_folder import CHECKPOINTS_KEPT, RunFolder, cannot_write

PANELS = {
    "Reward": ("reward", "validation_reward"),
    "Share of right answers": ("task", "validation_task"),
    "KL to the reference, nats a rationale": ("kl", "kl_k3"),
    "Entropy, nats a token": ("entropy",),
    "Share of tokens clipped": ("clip_fraction",),
    "Explained variance of the values": ("explained_variance",),
}
"""What `curves.png` shows."""


class Log:
    """Writes `metrics.jsonl` and `samples.jsonl` of a run.

    Args:
        folder: The run.
        update: Updates that the run goes on from; what was logged after it was not kept, and is made again.

    Raises:
        InputError: A line of what was logged is damaged.
        OutputError: A file cannot be written.
    """

    def __init__(self, folder: RunFolder, update: int) -> None:
        self._folder = folder
        for path in (folder.metrics, folder.samples):
            _cut(path, update)

    def write(self, figures: Mapping[str, float], judged: Sequence[Judged]) -> None:
        """Append an update.

        Raises:
            OutputError: A file cannot be written.
        """
        _append(self._folder.metrics, [{"step": figures["update"], **figures}])
        _append(self._folder.samples, [sample_record(one, int(figures["update"])) for one in judged])


def sample_record(judged: Judged, update: int) -> dict[str, Any]:
    """Return a rationale with its reward as `samples.jsonl` holds it."""
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
    """Leave out what was logged after `update`; a run that begins anew has no use for any of it."""
    records = read_metrics(path, "update") if update > 0 else []
    kept = [record for record in records if record["update"] <= update]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    replace_file(path, text.encode(), CHECKPOINTS_KEPT)


def _append(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    except OSError as error:
        raise cannot_write(path, error) from error
