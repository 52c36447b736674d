"""The counts of a question file."""

from __future__ import annotations

import io
import json
from collections import Counter

from lmcot_cli.datasets.json_lines import read_records
from lmcot_cli.datasets.summary import Spread, summarize


def test_summary_counts_rows_and_keeps_the_first() -> None:
    records = [
        {
            "id": "a",
            "question": "Who?",
            "context": [["Ann Lee", ["She did.", " Yes."]]],
            "answer": "Ann",
            "type": "x",
        },
        {"id": "a", "question": "Why?", "context": ["one two"] * 3, "answer": ["b", "c"], "rationale": "So."},
        {"id": "b", "question": "", "context": ""},
        {"_id": "c", "question": "When?", "context": []},
    ]
    data = "\n".join(map(json.dumps, records)) + "\nnot json"
    summary = summarize(read_records(io.BytesIO(data.encode())), first=1)
    assert summary.rows == 3
    assert summary.layouts == {"native": 3, "hotpotqa": 1}
    assert summary.types == {"x": 1}
    assert summary.paragraphs == Counter({1: 1, 3: 1, 0: 1})
    assert summary.words == Counter({5: 1, 6: 1, 0: 1})
    assert (summary.with_answer, summary.with_aliases, summary.with_rationale) == (2, 1, 1)
    assert summary.repeated_ids == 1
    assert [bad.line for bad in summary.bad] == [3, 5]
    assert [row.question for row in summary.first] == ["Who?"]


def test_spread() -> None:
    assert Spread.of(Counter({2: 1, 4: 2, 9: 1})) == Spread(2, 4, 9)
    assert Spread.of(Counter()) is None
