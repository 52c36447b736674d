"""The answers that come out at the end of the pipeline, with the source and with an export in their role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Result
from lmcot_cli.prompts.options import PromptOptions
from lmcot_cli.scoring.answers import Answer
from lmcot_cli.scoring.comparison import Comparison, compare
from lmcot_cli.scoring.options import ScoringOptions
from lmcot_export.verify.options import VerifyOptions


def answer_with(spec: str, options: VerifyOptions) -> list[Result]:
    """Answer the given rows, greedily, by the rationales of the model that a spec names, or by its own chains.

    Raises:
        LmcotError: The questions cannot be read, or a model cannot be loaded or run.
    """
    assert options.questions is not None
    # Plain attention: its last bits do not depend on what else is in a batch, so that what differs is the export.
    engine = EngineOptions(threads=options.threads, flash_attention=False, device="cpu", dtype="float32")
    common = AnswerOptions(
        limit=options.rows, prompting=PromptOptions(prompts=options.prompts), engine=engine
    )
    if options.role == "large":
        settings = replace(common, method="cot", large=spec)
    else:
        settings = replace(common, small=spec, large=options.large)
    with closing(AnswerRun(options.questions, settings).results()) as results:
        return list(results)


def equal_rationales(source: Sequence[Result], exported: Sequence[Result]) -> list[bool]:
    """Tell for each row whether both sides wrote the same rationale, or failed alike, [rows]."""
    return [_rationales(one) == _rationales(other) for one, other in zip(source, exported, strict=True)]


def compared(
    source: Sequence[Result], exported: Sequence[Result], options: VerifyOptions
) -> Comparison | None:
    """Compare the answers row by row; None where no row has a gold answer."""
    if not any(result.gold for result in source):
        return None
    return compare(_by_id(source), _by_id(exported), None, ScoringOptions(seed=options.seed))


def _rationales(result: Result) -> tuple[object, ...]:
    return (result.error, *(sample.rationale for sample in result.samples))


def _by_id(results: Iterable[Result]) -> dict[str, Answer]:
    return {
        result.id: Answer(
            id=result.id,
            question=result.question,
            text=result.answer,
            samples=tuple(sample.answer for sample in result.samples),
            accepted=result.gold,
            type=result.type,
            line=result.line,
            failed=result.error is not None,
        )
        for result in results
    }
