"""The log of a run that was killed goes on where its checkpoint is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, OutputError
from lmcot_train.refine.log import Log
from lmcot_train.refine.run import progress_line
from lmcot_train.rewards.reward import Reward, RolledOut
from lmcot_train.rollouts.judge import JudgedRationale
from lmcot_train.run_folder import RunFolder

ROW = Row("r1", "Who?", (), ("Ann",), None, None, 1)
JUDGED = JudgedRationale(
    RolledOut(ROW, "Ann did.", True, -0.5),
    Reward(1.4, 1.0, {"fluency": 0.8}, {"loops": 0.0}, "Ann", 0.8),
)


def test_every_rationale_is_there_to_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    Log(folder, 0).write({"update": 1.0, "reward": 1.4}, [JUDGED])
    assert json.loads(folder.samples.read_text()) == {
        "update": 1, "id": "r1", "question": "Who?", "gold": ["Ann"], "rationale": "Ann did.", "answer": "Ann",
        "finished": True, "reward": 1.4, "task": 1.0, "aspects": {"fluency": 0.8}, "penalties": {"loops": 0.0},
        "reference_logprob": -0.5,
    }  # fmt: skip
    assert json.loads(folder.metrics.read_text()) == {"step": 1.0, "update": 1.0, "reward": 1.4}


def test_what_came_after_the_checkpoint_is_made_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = Log(folder, 0)
    for update in range(4):
        log.write({"update": float(update)}, [JUDGED] if update else [])
    with folder.metrics.open("a") as file:
        file.write('{"update": 4.0, "rew')  # torn by the kill
    Log(folder, 2).write({"update": 3.0, "again": 1.0}, [JUDGED])
    updates = [json.loads(line)["update"] for line in folder.metrics.read_text().splitlines()]
    assert updates == [0, 1, 2, 3]
    assert "again" in json.loads(folder.metrics.read_text().splitlines()[-1])
    assert [json.loads(line)["update"] for line in folder.samples.read_text().splitlines()] == [1, 2, 3]


def test_a_run_without_a_checkpoint_begins_its_log_anew(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    Log(folder, 0).write({"update": 0.0}, [])
    Log(folder, 0)
    assert folder.metrics.read_text() == ""


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.jsonl"])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"garbage", "Expecting value"),
        (b'{"id": "r1"}', "it has no number in update"),
        (b'{"update": "1"}', "it has no number in update"),
        (b"[1]", "it has no number in update"),
        (b"\xff", "can't decode"),
        (b"[" * 200_000, "recursion"),
    ],
)
def test_a_damaged_line_of_a_log_is_named(tmp_path: Path, name: str, line: bytes, reason: str) -> None:
    folder = RunFolder(tmp_path)
    Log(folder, 0).write({"update": 1.0}, [JUDGED])
    with (tmp_path / name).open("ab") as file:
        file.write(line + b"\n")
    wanted = rf"{name}:2: the line is damaged \(.*{reason}.*\): delete it, or start anew with --overwrite"
    with pytest.raises(InputError, match=wanted):
        Log(folder, 1)
    Log(folder, 0)  # begins anew
    assert (tmp_path / name).read_bytes() == b""


def test_a_full_disk_is_one_line() -> None:
    """/dev/full takes nothing, as a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    folder = RunFolder(Path("/nowhere"))
    folder.metrics = folder.samples = Path("/dev/full")
    log = Log.__new__(Log)
    log._folder = folder
    with pytest.raises(OutputError, match="No space left on device; the checkpoints so far are kept"):
        log.write({"update": 1.0}, [])


def test_a_figure_that_rounds_to_zero_has_no_sign() -> None:
    assert "KL 0.00" in progress_line({"update": 1, "kl": -0.001}, 2)
