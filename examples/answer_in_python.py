"""Answer questions from Python: the pipeline without the command line.

python answer_in_python.py questions.jsonl
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions


def main(questions: Path) -> None:
    run = AnswerRun(questions, AnswerOptions(method="guided", samples=3, limit=5))
    for result in run.results():
        print(result.question)
        for sample in result.samples:
            print(f"  {sample.rationale}  ->  {sample.answer}")
        votes = Counter(sample.answer for sample in result.samples)
        print(f"  answer: {result.answer}, agreed on by {result.agreement:.0%} ({dict(votes)})")
    print(f"{run.totals.answered} of {run.totals.rows} rows answered")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python answer_in_python.py QUESTIONS")
    main(Path(sys.argv[1]))
