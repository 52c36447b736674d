"""How a prompt and a rationale become token ids: as inference does it, and nowhere else.

What stands in a prompt comes from `lmcot_cli.prompts`. A model with a chat template gets it as the user's message, with
examples as earlier turns and the system message as its own; any other gets all of it as one text. Special tokens are
those that the tokenizer puts in front by itself and those that the chat template writes; characters of a row that look
like one are read as characters, as every backend reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from lmcot_cli.backends.base import Request
from lmcot_cli.backends.torch.vocabulary import TokenizerVocabulary
from lmcot_cli.datasets.row import Row
from lmcot_cli.files import read_object, write_json
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.prompts.conversation import PromptBuilder


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """A prompt and what is to follow it, as token ids; the completion ends in a token that ends it."""

    prompt: list[int]
    completion: list[int]


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote, as inference reads it.

    Attributes:
        rationale: The text up to the end token or stop string, without white space around it.
        finished: Whether there was an end token or stop string.
    """

    rationale: str
    finished: bool


class RationalePrompts:
    """Token ids of prompts for rationales, of the rationales, and back.

    Args:
        tokenizer: The tokenizer of the model that writes rationales.
        encoder_decoder: Whether prompts go to an encoder.
        prompts: What builds prompts; without it they have our templates and nothing before them.

    Attributes:
        end_ids: Tokens that end a completion, wherever it is written.

    Raises:
        ModelError: The tokenizer's chat template fails; so do the methods that ask for a prompt, for it may fail there.
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
        self._end = int(tokenizer.eos_token_id) if turn is None else turn
        self.end_ids = self._vocabulary.ends
        self._stop = self._prompts.sampling(
            "guided_rationale", AnswerOptions().sampling_of("guided_rationale")
        ).stop

    def write_generation_config(self, folder: Path) -> None:
        """Say in a trained model's folder how its texts begin and end, so that whoever runs it stops where it does.

        What the folder says already of other things stays.
        """
        path = folder / "generation_config.json"
        known = read_object(path, missing_ok=True)
        ends = [self._end, *sorted(self.end_ids - {self._end})]
        ids = {
            "bos_token_id": self._tokenizer.bos_token_id,
            "eos_token_id": ends if len(ends) > 1 else ends[0],
            "pad_token_id": self._tokenizer.pad_token_id,
        }
        given = {name: value for name, value in ids.items() if value is not None}
        write_json(path, {**known, **given})

    def prompt(self, row: Row) -> list[int]:
        """Return the ids that a model is given for a row."""
        return self._vocabulary.prompt_tokens(self._request(row))

    def example(self, row: Row, rationale: str) -> TokenizedExample:
        """Return the prompt of a row with the ids of a rationale, as the model should write them."""
        request, completion = self._request(row), self._completion_text(rationale)
        ids = self._vocabulary.prompt_tokens(request)
        if self._encoder_decoder:
            return TokenizedExample(ids, [*self._ids(completion), self._end])
        last = self._chat_parts(request)[-1] if self._chat else self._vocabulary.prompt_text(request)
        before, whole = self._ids(last), self._ids(last + completion)
        # A tokenizer that reads the first word otherwise after the prompt: what decodes to the text is right too.
        joined = whole[: len(before)] == before
        following = whole[len(before) :] if joined else self._ids(completion)
        return TokenizedExample(ids, [*following, self._end])

    def read(self, ids: Sequence[int]) -> Written:
        """Turn the ids that a model wrote after a prompt into its rationale."""
        ends = [index for index, token in enumerate(ids) if token in self.end_ids]
        text: str = self._tokenizer.decode(
            ids[: ends[0]] if ends else ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        stops = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        return Written(text[: min(stops)].strip() if stops else text.strip(), bool(ends or stops))

    def _request(self, row: Row) -> Request:
        return self._prompts.request("guided_rationale", row)

    def _chat_parts(self, request: Request) -> list[str]:
        template = self._vocabulary.template
        assert template is not None
        return template.parts(request)

    def _completion_text(self, rationale: str) -> str:
        """Return what follows the prompt's last character: a cue is followed by a space, a chat's turn by none."""
        return rationale.strip() if self._chat or self._encoder_decoder else f" {rationale.strip()}"

    def _ids(self, text: str) -> list[int]:
        return self._vocabulary.ids(text, special=False, split=not self._chat)
