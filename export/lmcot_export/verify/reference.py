"""The source model's tokens, logits and answers, computed once for all its exports."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lmcot_cli.backends.sampling import Logits
from lmcot_cli.errors import ModelError
from lmcot_cli.pipeline.result import Result
from lmcot_export.gguf.probe_texts import probe_texts
from lmcot_export.verify.answers import answer_with
from lmcot_export.verify.divergence import TextDivergence, compare_logits
from lmcot_export.verify.folder import FolderSubject, open_source
from lmcot_export.verify.options import VerifyOptions
from lmcot_export.verify.subject import SpecialTokens, Subject
from lmcot_export.verify.texts import rationale_prompts

LONGEST = 1024
"""Prompt tokens whose logits are compared: those of every position are held in memory at once."""


@dataclass(frozen=True, slots=True)
class ReferenceText:
    """A text whose logits are on the disk.

    Attributes:
        prompt: The tokens of a prompt.
        written: What the source writes after it, without the last token.
        first: The position from which on logits are kept.
        begin: The position whose logits predict the first written token.
        file: The source's logits, [positions from `first` on, vocabulary].
    """

    prompt: tuple[int, ...]
    written: tuple[int, ...]
    first: int
    begin: int
    file: Path

    def compare(self, subject: Subject) -> TextDivergence:
        """Compare the source's logits with those of an export.

        Raises:
            ModelError: The export cannot compute them, or has another vocabulary.
        """
        source: Logits = np.load(self.file)
        exported = subject.logits(self.prompt, self.written)[self.first :]
        if source.shape != exported.shape:
            raise ModelError(
                f"the source has logits of {source.shape[1]} tokens, the export of {exported.shape[1]}"
            )
        return compare_logits(source, exported, self.begin - self.first)


class Reference:
    """The source model's tokens, prompts, logits and answers; the model itself is closed again.

    Args:
        source: A model folder; torch runs it in float32.
        options: The options of verification.
        folder: Where the logits go; its owner removes it.

    Attributes:
        texts: The probe texts.
        text_tokens: Their token ids.
        prompts: The prompts of the given questions, or of MicroHop's.
        rendered: Each as it is sent to the model.
        prompt_tokens: Their token ids.
        special: The control tokens.
        weights: How many weights there are.
        scored: Texts with their logits.
        results: The answers to the given questions; None where none are given.

    Raises:
        LmcotError: The source or the questions cannot be read, or the large model cannot be loaded.
    """

    special: SpecialTokens
    weights: int

    def __init__(self, source: Path, options: VerifyOptions, folder: Path) -> None:
        self.source = source
        self.texts = probe_texts()
        self.prompts = rationale_prompts(options)
        self._folder = folder
        self.scored: list[ReferenceText] = []
        with closing(open_source(source, options.threads)) as subject:
            self._ask(subject, options)
        given = options.questions is not None
        self.results: list[Result] | None = answer_with(f"transformers:{source}", options) if given else None

    def _ask(self, subject: FolderSubject, options: VerifyOptions) -> None:
        self.text_tokens = [subject.text_tokens(text) for text in self.texts]
        self.rendered = [subject.render(prompt) for prompt in self.prompts]
        self.prompt_tokens = [subject.prompt_tokens(prompt) for prompt in self.prompts]
        self.special, self.weights = subject.special, subject.weights
        bound = subject.backend.context_tokens or LONGEST + options.written
        longest = max(min(LONGEST, bound - options.written), 1)
        left = options.positions
        for tokens in self.prompt_tokens[: options.texts]:
            prompt = tokens[:longest]
            self._score(subject, prompt, options.written, whole=left > 0)
            left -= len(prompt)

    def _score(self, subject: FolderSubject, prompt: Sequence[int], count: int, *, whole: bool) -> None:
        """Keep the logits of a prompt and of what the source writes after it; if not `whole`, of the latter."""
        written = greedy_tokens(subject, prompt, count)[:-1]
        begin = len(prompt) - 1 if subject.backend.decoder_start is None else 0
        first = 0 if whole else begin
        file = self._folder / f"{len(self.scored)}.npy"
        np.save(file, subject.logits(prompt, written)[first:])
        self.scored.append(ReferenceText(tuple(prompt), written, first, begin, file))


def greedy_tokens(subject: FolderSubject, prompt: Sequence[int], count: int) -> tuple[int, ...]:
    """Return the greedy tokens after a prompt: `count` of them, or up to one that ends the text."""
    written: list[int] = []
    with torch.inference_mode():
        sequences = subject.backend.begin([tuple(prompt)])
        while len(written) < count:
            token = int(sequences.logits[0].argmax())
            written.append(token)
            if token in subject.special.ends:
                break
            sequences.append([token])
    return tuple(written)
