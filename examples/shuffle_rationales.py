"""Give every question the rationale of another one: python shuffle_rationales.py QUESTIONS ANSWERS > shuffled.jsonl

ANSWERS is what `lmcot answer` wrote for QUESTIONS; each question gets the first rationale of the next one (the last
gets the first's). Answer the result with --given-rationales: if the text alone helped, and not what it says about the
question, the answers stay as good.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def records(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def shuffled(questions: list[dict[str, Any]], answers: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    rationales = [answer["samples"][0]["rationale"] for answer in answers]
    for question, rationale in zip(questions, [*rationales[1:], rationales[0]], strict=True):
        yield question | {"rationale": rationale}


if __name__ == "__main__":
    for record in shuffled(records(sys.argv[1]), records(sys.argv[2])):
        print(json.dumps(record, ensure_ascii=False))
