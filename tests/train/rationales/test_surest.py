"""Of each question type, the rationales that the large LM was surest of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import UsageError
from lmcot_train.rationales.filters import Candidate, FilterOptions, surest_bounds
from lmcot_train.rationales.run import Origin, collect


def candidate(kind: str | None, logprob: float | None) -> Candidate:
    row = Row("1", "Where?", (Paragraph("Ann", ("Ann was born in Rome.",)),), ("Rome",), kind, None, 1)
    return Candidate(row, "Ann was born in Rome.", "Rome", logprob=logprob)


def test_each_type_has_a_bound_of_its_own() -> None:
    easy = [candidate("bridge", -0.01 * i) for i in range(1, 11)]
    hard = [candidate("comparison", -0.1 * i) for i in range(1, 5)]
    assert surest_bounds([*easy, *hard], 0.5) == pytest.approx({"bridge": -0.05, "comparison": -0.2})


def test_a_share_keeps_at_least_one_and_what_is_not_known_has_no_bound() -> None:
    assert surest_bounds([candidate(None, -0.3), candidate("x", None)], 0.01) == {None: -0.3}


@pytest.mark.parametrize("share", [0, -0.5, 1.1])
def test_a_share_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="--keep-surest"):
        FilterOptions(keep_surest=share).check()


def test_the_surest_are_written_and_the_others_counted(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(
        "".join(
            json.dumps(
                {"id": str(i), "question": "Where?", "context": "Ann was born in Rome.", "answer": "Rome"}
            )
            + "\n"
            for i in range(4)
        )
    )
    samples = [
        [(f"Ann was born in Rome, {word} say.", -0.1 * i) for word in ("they", "we")] for i in range(1, 5)
    ]
    records = [
        {
            "id": str(i),
            "error": None,
            "samples": [
                {"rationale": text, "answer": "Rome", "logprob": sure, "seed": 1} for text, sure in row
            ],
        }
        for i, row in enumerate(samples)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    output = tmp_path / "rationales.jsonl"
    counts = collect(
        Origin(tmp_path / "q.jsonl", tmp_path / "a.jsonl"), output, FilterOptions(keep_surest=0.5)
    )
    assert (counts.candidates, counts.kept, counts.rows_kept, counts.left_out["unsure"]) == (8, 4, 2, 4)
    kept = [row.id for row in read_rows(output) if isinstance(row, Row)]
    assert kept == ["0", "0#2", "1", "1#2"]
