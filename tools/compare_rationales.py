"""Compare the greedy rationales of a model's folder, run by torch, with those of its exports; run by hand.

    lmcot data synth --rows 100 --seed 77 -o questions.jsonl
    lmcot export MODEL --quantize f32 -o exports
    lmcot export MODEL --format onnx -o exports
    python -m tools.compare_rationales MODEL questions.jsonl gguf:exports/NAME.f32.gguf onnx:exports/NAME.onnx

Prints how many rationales each export writes as torch does, and of every other one the two tokens where they part, with
their log-probabilities by torch: a near tie, which the last bits of a logit decide, is no fault of the export.
llama.cpp's KV cache is float16 here as it is in every run; attention is plain, so that a row depends on itself alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from lmcot_cli.backends.base import Completion, Request
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.specs import open_model
from lmcot_cli.errors import RowError
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_export.verify.folder import FolderSubject, open_source
from lmcot_export.verify.options import VerifyOptions
from lmcot_export.verify.texts import rationale_prompts

ENGINE = EngineOptions(threads=1, flash_attention=False, device="cpu", dtype="float32")


def main(model: Path, questions: Path, exports: Sequence[str]) -> None:
    """Print the comparison of each export with torch."""
    prompts = rationale_prompts(VerifyOptions(questions=questions, rows=sys.maxsize))
    source = rationales(f"transformers:{model}", prompts)
    with closing(open_source(model, ENGINE.threads)) as subject:
        for spec in exports:
            written = rationales(spec, prompts)
            others = [row for row, text in enumerate(source) if text != written[row]]
            print(f"{spec}: {len(source) - len(others)} of {len(source)} rationales equal torch's")
            for row in others:
                print(f"    row {row + 1}: {parting(subject, prompts[row], source[row], written[row])}")


def rationales(spec: str, prompts: Sequence[str]) -> list[str]:
    """Write a rationale to each prompt as `lmcot answer` does by default."""
    requests = [Request(prompt, seed=0) for prompt in prompts]
    with open_model(spec, role="small", aliases={}, options=ENGINE) as backend:
        replies = backend.complete(requests, AnswerOptions().sampling_of("guided_rationale"))
    return [_text(reply) for reply in replies]


def _text(reply: Completion | RowError) -> str:
    if isinstance(reply, RowError):
        raise reply
    return reply.text


def parting(subject: FolderSubject, prompt: str, source: str, exported: str) -> str:
    """Say where two rationales part, and what torch thinks of both ways."""
    tokenizer, end = subject.backend.vocabulary.tokenizer, min(subject.special.ends)
    ours, theirs = (
        [*tokenizer(text, add_special_tokens=False).input_ids, end] for text in (source, exported)
    )
    at = next(i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other)
    logits = subject.logits(subject.prompt_tokens(prompt), ours[:at])[-1].astype(np.float64)
    logits -= np.log(np.exp(logits - logits.max()).sum()) + logits.max()
    one, other = ours[at], theirs[at]
    return (
        f"token {at} is {tokenizer.decode([one])!r} ({logits[one]:.6f}) by torch, {tokenizer.decode([other])!r}"
        f" ({logits[other]:.6f}) by the export, {logits[one] - logits[other]:.1e} apart"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
