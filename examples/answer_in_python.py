"""Answer questions from Python, without the command line.

python answer_in_python.py questions.jsonl
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from lmcot import answer


def main(questions: Path) -> None:
    for result in answer(questions, method="guided", samples=3, limit=5):
        print(result.question)
        for sample in result.samples:
            print(f"  {sample.rationale}  ->  {sample.answer}")
        if result.error:
            print(f"  failed: {result.error.message}")
        else:
            votes = Counter(sample.answer for sample in result.samples)
            print(f"  answer: {result.answer}, agreed on by {result.agreement:.0%} ({dict(votes)})")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python answer_in_python.py QUESTIONS")
    main(Path(sys.argv[1]))
