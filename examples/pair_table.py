"""Print the score table of the embedded pair as Markdown: python pair_table.py FOLDER (filled by measure_pair.sh).

EM and F1 by HotpotQA's rules, and R_aspect, the equally weighted mean of the aspects of a rationale that need no
model (all but fluency); of several samples, their mean. Percent, with 95% intervals as `lmcot_cli.scoring.intervals`
makes them; differences are paired.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.scoring.intervals import mean_interval
from lmcot_cli.scoring.metrics import score_answer
from lmcot_train.rewards.aspects import EQUAL_WEIGHTS, score_aspects, weighted_mean
from lmcot_train.rewards.chain import read_chain

WAYS = {
    "standard": "`standard`: the large LM at once",
    "cot": "`cot`: its own chain",
    "base": "`guided` by the base, no rationale seen",
    "distilled": "`guided` by the base, distilled",
    "guided": "`guided` by the embedded small LM: distilled, then PPO",
    "guided5": "the same, 5 samples, majority",
    "shuffled": "`guided`, the rationale of another row",
    "gold": "`guided`, gold rationales",
}
PAIRS = (
    ("standard", "guided"),
    ("cot", "guided"),
    ("guided", "guided5"),
    ("standard", "shuffled"),
    ("standard", "distilled"),
    ("cot", "distilled"),
    ("base", "distilled"),
    ("distilled", "guided"),
)


class Scored(NamedTuple):
    """The scores of one row; `aspects` is None if there is no rationale."""

    em: float
    f1: float
    aspects: float | None


def score(row: Row, result: dict[str, Any]) -> Scored:
    scores = score_answer(result["answer"], row.answers)
    means = [
        weighted_mean(score_aspects(read_chain(row, s["rationale"], s["answer"])), EQUAL_WEIGHTS)
        for s in result["samples"]
        if s["rationale"] is not None
    ]
    return Scored(scores.exact_match, scores.f1, fmean(means) if means else None)


def read(folder: Path, name: str, rows: dict[str, Row]) -> list[Scored]:
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    results = {result["id"]: result for result in map(json.loads, lines)}
    return [score(row, results[row.id]) for row in rows.values()]


def estimate(values: Sequence[float | None], sign: str = "") -> str:
    if (known := [value for value in values if value is not None]) != list(values) or not known:
        return "-"
    found = mean_interval(known)
    mean, low, high = (f"{100 * value:{sign}.1f}" for value in (found.mean, found.low, found.high))
    return f"{mean} ({low} to {high})"


def line(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


def main(folder: Path) -> None:
    rows = {row.id: row for row in read_rows(folder / "questions.jsonl") if isinstance(row, Row)}
    found = {name: read(folder, name, rows) for name in WAYS if (folder / f"{name}.jsonl").exists()}
    line(f"{len(rows)} rows", "EM", "F1", "R_aspect")
    line("---", "---", "---", "---")
    for name, scores in found.items():
        line(WAYS[name], *(estimate(column) for column in zip(*scores, strict=True)))
    print()
    line("difference", "EM", "F1", "R_aspect")
    line("---", "---", "---", "---")
    for a, b in PAIRS:
        if a in found and b in found:
            columns = zip(zip(*found[a], strict=True), zip(*found[b], strict=True), strict=True)
            line(f"`{b}` less `{a}`", *(estimate(differences(*column), "+") for column in columns))


def differences(a: Sequence[float | None], b: Sequence[float | None]) -> list[float | None]:
    return [None if x is None or y is None else y - x for x, y in zip(a, b, strict=True)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
