"""Prompts of an exact number of tokens, whatever the model's tokenizer and chat template."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from lmcot_cli.backends.base import Request
from lmcot_cli.backends.llama.library import llama
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.vocabulary import LlamaVocabulary
from lmcot_cli.bench.options import Workload
from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.errors import ModelError, UsageError

FILLER = " a"
MOST_FILLERS = 16
ROWS = 1 << 20  # more than any text needs; they are made as they are read


@dataclass(frozen=True, slots=True)
class BenchPrompt:
    """A prompt as a backend gets it, and as the model sees it.

    Attributes:
        text: Without the chat template, which the engine puts around it.
        ids: Token ids, with beginning-of-text token and chat template.
    """

    text: str
    ids: list[int]


Prompts: TypeAlias = list[list[BenchPrompt]]
"""The prompts of each repeat."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What llama.cpp says of a model file.

    Attributes:
        parameters: How many weights.
        tensor_bytes: Bytes of all weights.
        vocabulary: How many tokens.
        trained_context: Tokens of context it was trained with.
    """

    parameters: int
    tensor_bytes: int
    vocabulary: int
    trained_context: int


def prepare(path: Path, workload: Workload, repeats: int) -> tuple[LoadedModel, Prompts]:
    """Load a model once, and write the prompts of every repeat for it, no two alike.

    Raises:
        ModelError: The model cannot be loaded, or its tokenizer makes no such prompt.
        UsageError: The model's context is too small for the workload, or a prompt for the chat template.
    """
    with closing(LlamaModel(path)) as model:
        writer = _PromptWriter(model)
        facts = LoadedModel(
            parameters=int(llama().llama_model_n_params(model.handle)),
            tensor_bytes=int(llama().llama_model_size(model.handle)),
            vocabulary=writer.vocabulary.size,
            trained_context=model.trained_context,
        )
        if workload.request_tokens > facts.trained_context:
            raise UsageError(
                f"--prompt-tokens {workload.prompt_tokens} and --new-tokens {workload.new_tokens} are more than"
                f" the model's context of {facts.trained_context}"
            )
        return facts, [
            [
                writer.write(workload.prompt_tokens, seed=repeat * workload.prompts + index)
                for index in range(workload.prompts)
            ]
            for repeat in range(repeats)
        ]


class _PromptWriter:
    """Writes prompts as the engine will read them."""

    def __init__(self, model: LlamaModel) -> None:
        self._path = model.path
        self.vocabulary = LlamaVocabulary(model)

    def write(self, tokens: int, seed: int) -> BenchPrompt:
        """Cut a text of MicroHop to the length, and fill up where no cut gives just that."""
        least = len(self._encode("a"))
        if tokens < least:
            raise UsageError(f"--prompt-tokens {tokens}: this model's shortest prompt takes {least}")
        source = " ".join(_sentences(seed, characters=tokens * 8))
        # A longer text has more tokens; where a character joins two into one the search may land beside the best
        # cut, which the filler mends.
        longest = bisect_right(
            range(len(source)), tokens, key=lambda length: len(self._encode(source[:length]))
        )
        for length in range(longest - 1, 0, -1):
            text = source[:length]
            for _ in range(MOST_FILLERS):
                ids = self._encode(text)
                if len(ids) >= tokens:
                    break
                text += FILLER
            if len(ids) == tokens:
                return BenchPrompt(text, ids)
        raise ModelError(f"{self._path}: no text gives exactly {tokens} tokens; choose other --prompt-tokens")

    def _encode(self, text: str) -> list[int]:
        return self.vocabulary.prompt_tokens(Request(text, seed=0))


def _sentences(seed: int, characters: int) -> Iterator[str]:
    """Yield sentences of MicroHop, enough for that many characters."""
    rows = records(MicroHopOptions(rows=ROWS, seed=seed))
    total = 0
    for sentence in _flat(rows):
        yield sentence
        total += len(sentence)
        if total > characters:
            return


def _flat(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        for _, sentences in row["context"]:
            yield from sentences
