"""Measure what an importance matrix is worth: the loss per token of quantized files with and without one.

    python -m tools.measure_imatrix MODEL MATRIX_QUESTIONS TEST_QUESTIONS q4_0,iq4_nl

The matrix is collected on prompts of MATRIX_QUESTIONS, as `lmcot export --imatrix` does; the loss is that of prompts of
TEST_QUESTIONS, each cut to `TOKENS`. Intervals are a bootstrap over the prompts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from lmcot_cli.backends.engine_options import usable_cores
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.prompts.render import Prompts
from lmcot_export.gguf.write import write_gguf
from lmcot_export.imatrix import importance_of
from lmcot_export.quantize import quantize
from lmcot_export.verify.gguf_file import GgufSubject

PROMPTS, TOKENS, SEED, DRAWS = 30, 512, 0, 2000
THREADS = usable_cores()


def main(model: Path, matrix_questions: Path, test_questions: Path, types: list[str]) -> None:
    """Print the loss of the full-precision file, and of each type with and without the matrix."""
    prompts = [Prompts().render("guided_rationale", row) for row in _rows(test_questions)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        full = write_gguf(model, folder / "full.gguf", "f16")
        matrix = importance_of(matrix_questions, full, folder / "matrix.gguf", role="small", threads=THREADS)
        print(f"f16: {_per_token(losses(full, prompts)):.3f} nats per token over {len(prompts)} prompts")
        for type in types:
            files = {
                kind: quantize(full, folder / f"{kind}.gguf", type, importance=importance, threads=THREADS)
                for kind, importance in (("plain", None), ("matrix", matrix))
            }
            print(_compared(type, {kind: losses(file, prompts) for kind, file in files.items()}), flush=True)


def losses(path: Path, prompts: list[str]) -> NDArray[np.float64]:
    """Return each prompt's summed negative log-likelihood in nats, and its predicted tokens, [prompts, 2]."""
    found = []
    with closing(GgufSubject(path, THREADS)) as subject:
        for prompt in prompts:
            tokens = np.array(subject.prompt_tokens(prompt)[:TOKENS])
            logits = subject.logits(tokens.tolist(), [])[:-1].astype(np.float64)
            top = logits.max(-1)
            totals = np.log(np.exp(logits - top[:, None]).sum(-1)) + top
            found.append(((totals - logits[np.arange(len(logits)), tokens[1:]]).sum(), len(logits)))
    return np.array(found)


def _compared(type: str, found: Mapping[str, NDArray[np.float64]]) -> str:
    plain, matrix = found["plain"], found["matrix"]
    change = np.column_stack([matrix[:, 0] - plain[:, 0], plain[:, 1]])
    drawn = np.random.default_rng(SEED).integers(0, len(change), (DRAWS, len(change)))
    low, high = np.percentile([_per_token(change[rows]) for rows in drawn], [2.5, 97.5])
    return (
        f"{type}: {_per_token(plain):.3f} plain, {_per_token(matrix):.3f} with the matrix:"
        f" {_per_token(change):+.3f} ({low:+.3f} to {high:+.3f}),"
        f" lower for {(change[:, 0] < 0).sum()} of {len(change)} prompts"
    )


def _per_token(sums: NDArray[np.float64]) -> float:
    return float(sums[:, 0].sum() / sums[:, 1].sum())


def _rows(questions: Path) -> list[Row]:
    return list(islice((row for row in read_rows(questions) if isinstance(row, Row)), PROMPTS))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4].split(","))
