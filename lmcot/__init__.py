"""LM-guided chain-of-thought from Python: a small LM writes the rationale, a frozen large LM answers from it.

    from lmcot import answer, answer_one

    print(answer_one("Where is Valsen Press based?", "Valsen Press is based in West Falmouth.").answer)

    rows = [{"question": "...", "context": ["...", "..."], "answer": "..."}]
    for result in answer(rows, large="model.gguf", samples=5):
        print(result.id, result.answer, result.agreement)

The names in `__all__` are the public surface; everything else, `lmcot_cli` included, may change without notice.
No settings file is read for models, prices or defaults: give them here. API keys come from the environment or, for
hosts in `[keys]` of the user's own settings file, from there, as on the command line.
"""

from __future__ import annotations

from lmcot.answering import answer, answer_one, open_model
from lmcot_cli import __version__
from lmcot_cli.backends.base import Backend, Completion, Request, Sampling
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import InputError, LmcotError, ModelError, OutputError, RowError, UsageError
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Result, Sample

__all__ = [
    "AnswerOptions",
    "Backend",
    "Completion",
    "InputError",
    "LmcotError",
    "ModelError",
    "OutputError",
    "Paragraph",
    "Request",
    "Result",
    "Row",
    "RowError",
    "Sample",
    "Sampling",
    "UsageError",
    "__version__",
    "answer",
    "answer_one",
    "open_model",
]
