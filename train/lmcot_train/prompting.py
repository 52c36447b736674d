"""Prompts and rationales as token ids, exactly as inference has them.

The text of a prompt comes from `lmcot_cli.prompts`. A model with a chat template gets it as the user's message, with
examples as earlier turns and the system message as its own; any other gets everything as one text. Special tokens are
those that the tokenizer adds by itself and those of the chat template; characters of a row that look like a special
token are read as characters, as by every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from lmcot_cli.backends.base import Request
from lmcot_cli.backends.torch.vocabulary import TokenizerVocabulary
from lmcot_cli.datasets.row import Row
from lmcot_cli.files import read_object, write_json
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.prompts.conversation import PromptBuilder

IGNORED = -100
"""Label of a token that is not learned."""


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """A prompt and the completion to learn, as token ids; the completion ends with an end token."""

    prompt: list[int]
    completion: list[int]

    def columns(self, *, encoder: bool) -> dict[str, list[int]]:
        """Return what a trainer reads; only the completion is learned."""
        if encoder:
            mask = [1] * len(self.prompt)
            return {"input_ids": self.prompt, "attention_mask": mask, "labels": self.completion}
        labels = [*[IGNORED] * len(self.prompt), *self.completion]
        return {"input_ids": [*self.prompt, *self.completion], "labels": labels}


@dataclass(frozen=True, slots=True)
class WrittenRationale:
    """The text that a model wrote up to an end token or stop string, stripped, and whether there was one."""

    rationale: str
    finished: bool


class RationalePrompts:
    """Turns rows and rationales into token ids, and back.

    Args:
        tokenizer: The tokenizer of the model that writes rationales.
        encoder_decoder: Whether prompts go to an encoder.
        prompts: Builds the prompts; without it they have our templates and nothing else.

    Attributes:
        end_id: The token that ends a completion to learn.
        end_ids: Tokens that end a completion, wherever it is written.

    Raises:
        ModelError: The tokenizer's chat template fails, here or when a prompt is made.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        encoder_decoder: bool,
        prompts: PromptBuilder | None = None,
    ) -> None:
        self._tokenizer, self._encoder_decoder = tokenizer, encoder_decoder
        self._prompts = prompts or PromptBuilder()
        self._vocabulary = TokenizerVocabulary(
            tokenizer, (), encoder=encoder_decoder, path=Path(tokenizer.name_or_path)
        )
        self._chat = self._vocabulary.template is not None
        turn = self._vocabulary.turn_end
        self.end_id = int(tokenizer.eos_token_id) if turn is None else turn
        self.end_ids = self._vocabulary.ends
        self._stop = self._prompts.sampling(
            "guided_rationale", AnswerOptions().sampling_of("guided_rationale")
        ).stop

    def prompt(self, row: Row) -> list[int]:
        """Return the token ids of the prompt for a row."""
        return self._vocabulary.prompt_tokens(self._request(row))

    def example(self, row: Row, rationale: str) -> TokenizedExample:
        """Return the prompt for a row, with a rationale as the model should write it."""
        request, completion = self._request(row), self._completion_text(rationale)
        ids = self._vocabulary.prompt_tokens(request)
        if self._encoder_decoder:
            return TokenizedExample(ids, [*self._ids(completion), self.end_id])
        last = self._chat_parts(request)[-1] if self._chat else self._vocabulary.prompt_text(request)
        before, whole = self._ids(last), self._ids(last + completion)
        # A tokenizer may read the first word differently after the prompt: what decodes to the text is right, too.
        joined = whole[: len(before)] == before
        following = whole[len(before) :] if joined else self._ids(completion)
        return TokenizedExample(ids, [*following, self.end_id])

    def read(self, ids: Sequence[int]) -> WrittenRationale:
        """Read the ids that a model wrote after a prompt."""
        ends = [index for index, token in enumerate(ids) if token in self.end_ids]
        text: str = self._tokenizer.decode(
            ids[: ends[0]] if ends else ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        stops = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        return WrittenRationale(text[: min(stops)].strip() if stops else text.strip(), bool(ends or stops))

    def _request(self, row: Row) -> Request:
        return self._prompts.request("guided_rationale", row)

    def _chat_parts(self, request: Request) -> list[str]:
        template = self._vocabulary.template
        assert template is not None
        return template.parts(request)

    def _completion_text(self, rationale: str) -> str:
        """Return what follows the prompt: after a cue there is a space, at the start of a turn there is none."""
        return rationale.strip() if self._chat or self._encoder_decoder else f" {rationale.strip()}"

    def _ids(self, text: str) -> list[int]:
        return self._vocabulary.ids(text, special=False, split=not self._chat)


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, model: Any) -> None:
    """Save a trained model's tokenizer, and the tokens that begin and end texts as its generation config."""
    tokenizer.save_pretrained(folder)
    prompts = RationalePrompts(tokenizer, encoder_decoder=model.config.is_encoder_decoder)
    path = folder / "generation_config.json"
    ends = [prompts.end_id, *sorted(prompts.end_ids - {prompts.end_id})]
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": ends if len(ends) > 1 else ends[0],
        "pad_token_id": tokenizer.pad_token_id,
    }
    given = {name: value for name, value in ids.items() if value is not None}
    write_json(path, read_object(path, missing_ok=True) | given)
