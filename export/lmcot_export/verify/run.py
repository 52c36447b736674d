"""Verify exports against the model folder they came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lmcot_cli.errors import LmcotError, ModelError
from lmcot_cli.files import size_of
from lmcot_export.verify.answers import answer_with, compared, equal_rationales
from lmcot_export.verify.checks import (
    check_answers,
    check_logits,
    check_prompts,
    check_rationales,
    check_special_tokens,
    check_tokens,
)
from lmcot_export.verify.divergence import everywhere, where_written
from lmcot_export.verify.folder import open_onnx
from lmcot_export.verify.gguf_file import GgufSubject
from lmcot_export.verify.options import Threshold, VerifyOptions
from lmcot_export.verify.reference import Reference
from lmcot_export.verify.report import Check, Figures, Verification
from lmcot_export.verify.subject import Subject


def verify(source: Path, exported: Path, options: VerifyOptions | None = None) -> Verification:
    """Compare one export with its source.

    Args:
        source: The model folder, an adapter merged into it.
        exported: A GGUF file, or a folder of ONNX graphs with their tokenizer.
        options: What is asked, and the thresholds.

    Raises:
        LmcotError: The source or the questions cannot be read, or the large model cannot be loaded. What is wrong
            with the export is no error, but a check that failed.
    """
    (verification,) = verify_each(source, [exported], options)
    return verification


def verify_each(
    source: Path, exports: Sequence[Path], options: VerifyOptions | None = None
) -> Iterator[Verification]:
    """Compare several exports with their source, which is asked once; the largest comes first.

    Raises:
        LmcotError: As `verify`.
    """
    options = options or VerifyOptions()
    with TemporaryDirectory(prefix="lmcot-verify-") as folder:
        reference = Reference(source, options, Path(folder))
        for exported in sorted(exports, key=size_of, reverse=True):
            yield _verify(reference, exported, options)


def _verify(reference: Reference, exported: Path, options: VerifyOptions) -> Verification:
    found: list[Check] = []
    size = size_of(exported)
    figures = Figures(size, size * 8 / reference.weights)
    try:
        subject = _open(exported, options.threads)
    except ModelError as error:
        check = Check("load", False, str(error))
        return Verification(reference.source, exported, "unknown", (check,), figures)
    with closing(subject):
        figures = replace(figures, bytes=subject.bytes, bits_per_weight=subject.bytes * 8 / reference.weights)
        threshold = options.threshold(subject.type)
        found += _text_checks(reference, subject)
        logits, figures = _compare_logits(reference, subject, threshold, figures)
        found.append(logits)
        if options.rate_steps:
            figures = replace(figures, tokens_per_second=subject.rate(options.rate_steps))
    if reference.results is not None:
        answered, figures = _compare_answers(reference, exported, options, threshold, figures)
        found += answered
    return Verification(reference.source, exported, subject.type, tuple(found), figures)


def _open(exported: Path, threads: int) -> Subject:
    if not exported.is_dir():
        return GgufSubject(exported, threads)
    return open_onnx(exported, threads)


def _text_checks(reference: Reference, subject: Subject) -> list[Check]:
    """Compare what happens to text before the model sees it."""
    try:
        rendered = [subject.render(prompt) for prompt in reference.prompts]
        prompts = [subject.prompt_tokens(prompt) for prompt in reference.prompts]
    except ModelError as error:  # a chat template that cannot render
        return [Check("prompt bytes", False, str(error))]
    texts = [subject.text_tokens(text) for text in reference.texts]
    return [
        check_tokens("token ids", reference.texts, reference.text_tokens, texts),
        check_tokens("prompt token ids", reference.prompts, reference.prompt_tokens, prompts),
        check_prompts(reference.rendered, rendered),
        check_special_tokens(reference.special, subject.special),
    ]


def _compare_logits(
    reference: Reference, subject: Subject, threshold: Threshold, figures: Figures
) -> tuple[Check, Figures]:
    try:
        texts = [text.compare(subject) for text in reference.scored]
    except ModelError as error:
        return Check("logits", False, str(error)), figures
    figures = replace(figures, everywhere=everywhere(texts), written=where_written(texts))
    judged = everywhere(texts) if threshold.everywhere else where_written(texts)
    return check_logits(judged, threshold), figures


def _compare_answers(
    reference: Reference, exported: Path, options: VerifyOptions, threshold: Threshold, figures: Figures
) -> tuple[list[Check], Figures]:
    assert reference.results is not None
    scheme = "onnx" if exported.is_dir() else "gguf"
    try:
        results = answer_with(f"{scheme}:{exported}", options)
    except LmcotError as error:
        return [Check("answers", False, str(error))], figures
    equal = equal_rationales(reference.results, results)
    answers = compared(reference.results, results, options)
    figures = replace(
        figures,
        rows=len(equal),
        rationales=sum(equal) / len(equal),
        exact_match=answers.exact_match if answers else None,
    )
    return [check_rationales(equal, threshold), check_answers(answers, threshold)], figures
