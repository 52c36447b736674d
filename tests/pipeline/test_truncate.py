"""`--truncate`: the fewest paragraphs are dropped that the model's own count of tokens asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.scripted import ScriptedBackend
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import PromptTooLongError, RowError, UsageError
from lmcot_cli.pipeline.answer import method_settings, row_result
from lmcot_cli.pipeline.cost import FREE
from lmcot_cli.pipeline.flow import Flow, Outcome
from lmcot_cli.pipeline.methods import build_method
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.waves import Drawn
from lmcot_cli.prompts.conversation import PromptBuilder

SCRIPT = (
    '{"match": "lead to the answer", "text": ["A.", "B b b b b b b b b b."]}\n{"match": "", "text": "Lyon"}\n'
)
WORDS = 10
"""Words of a paragraph."""


class Narrow(ScriptedBackend):
    """A model with room for so many words; one that counts none refuses what is too long, as an endpoint does."""

    def __init__(self, path: Path, room: int, *, counts: bool = True) -> None:
        super().__init__(path)
        self._room, self._counts = room, counts
        self.asked: list[Request] = []
        self.measured = 0

    def _excess(self, request: Request, sampling: Sampling) -> int:
        return len(request.text.split()) + sampling.max_tokens - self._room

    def excess(self, request: Request, sampling: Sampling) -> int | None:
        self.measured += 1
        return self._excess(request, sampling) if self._counts else None

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        self.asked += requests
        return [
            self._refusal(request, sampling) or reply
            for request, reply in zip(requests, super().complete(requests, sampling), strict=True)
        ]

    def _refusal(self, request: Request, sampling: Sampling) -> RowError | None:
        over = self._excess(request, sampling)
        if over <= 0:
            return None
        if self._counts:
            return PromptTooLongError(len(request.text.split()), sampling.max_tokens, self._room)
        return PromptTooLongError.of_endpoint("too long", over / (self._room + over))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.jsonl"
    path.write_text(SCRIPT)
    return path


def row(paragraphs: int = 20, relevant: int = 0) -> Row:
    context = tuple(
        Paragraph(f"T{n}", (" ".join(["Orzel" if n == relevant else f"w{n}"] * (WORDS - 1)),))
        for n in range(paragraphs)
    )
    return Row("q", "Where was the Orzel?", context, ("Lyon",), None, None, 1)


def ended(options: AnswerOptions, small: Narrow, large: Narrow, one: Row) -> Drawn:
    prompts = PromptBuilder(options.prompt_options, options.stages)
    method = build_method(options, prompts, small if options.method == "guided" else None, large)
    models = dict.fromkeys((small, large), FREE)
    flow = Flow(method, models)
    [(_, outcome, _)] = flow.run(iter([one]))
    return drawn(outcome)


def drawn(outcome: Outcome | None) -> Drawn:
    assert isinstance(outcome, Drawn)
    return outcome


STANDARD = AnswerOptions(method="standard", max_answer_tokens=10, truncate="paragraphs")


@pytest.mark.parametrize("paragraphs", [1, 2, 3, 20])
@pytest.mark.parametrize("room", range(40, 260, 7))
def test_as_few_paragraphs_are_dropped_as_the_room_allows(script: Path, paragraphs: int, room: int) -> None:
    model = Narrow(script, room)
    got = ended(STANDARD, model, model, row(paragraphs))
    fixed = len(PromptBuilder().request("standard", row(1)).text.split()) - WORDS + 10
    fitting = min((room - fixed) // WORDS, paragraphs)
    if fitting < 1:
        assert isinstance(got.error, PromptTooLongError)
        return
    assert got.error is None
    assert got.dropped == ({"large": paragraphs - fitting} if fitting < paragraphs else {})
    assert [f"T{n}:" in model.asked[0].prompt for n in range(paragraphs)] == [
        n < fitting for n in range(paragraphs)
    ]


def test_what_fits_is_measured_once_and_what_does_not_a_few_times(script: Path) -> None:
    wide, narrow = Narrow(script, 1000), Narrow(script, 100)
    ended(replace(STANDARD, samples=5, stop="none"), wide, wide, row())
    ended(replace(STANDARD, samples=5, stop="none"), narrow, narrow, row())
    assert wide.measured == 1
    assert narrow.measured <= 7
    assert len({request.prompt for request in narrow.asked}) == 1  # so its samples share it


def test_each_model_is_shown_what_it_has_room_for_and_the_question_always(script: Path) -> None:
    small, large = Narrow(script, 150), Narrow(script, 90)
    options = AnswerOptions(max_tokens=20, max_answer_tokens=5, samples=8, stop="none", truncate="relevance")
    got = ended(options, small, large, row(relevant=13))
    assert got.error is None
    assert 0 < got.dropped["small"] < got.dropped["large"] < 20
    assert len({request.prompt for request in large.asked}) == 2
    for request in (*small.asked, *large.asked):
        assert "T13: Orzel" in request.prompt
        assert "Question: Where was the Orzel?" in request.prompt
    shown = {request.prompt.count("w") for request in large.asked}
    assert len(shown) == 2  # the longer rationale leaves less room


def test_an_endpoint_is_asked_again_with_less(script: Path) -> None:
    model = Narrow(script, 100, counts=False)
    got = ended(replace(STANDARD, samples=2, stop="none"), model, model, row())
    assert got.error is None
    assert [sample.answer for sample in got.samples] == ["Lyon", "Lyon"]
    assert 14 <= got.dropped["large"] <= 16
    assert len(model.asked) <= 3 * 2


def test_tries_are_bounded_and_end_in_the_refusal(script: Path) -> None:
    class Never(Narrow):
        def _refusal(self, request: Request, sampling: Sampling) -> RowError | None:
            return PromptTooLongError.of_endpoint("too long", 0.01)

    model = Never(script, 100, counts=False)
    got = ended(STANDARD, model, model, row(60))
    assert str(got.error).startswith("too long; take a model with a longer context; --truncate leaves one")
    assert len(model.asked) == 8


def test_without_the_option_nothing_is_dropped_and_the_error_names_it(script: Path) -> None:
    model = Narrow(script, 100)
    options = replace(STANDARD, truncate="none")
    got = ended(options, model, model, row())
    assert "or drop whole paragraphs: --truncate paragraphs, or take a model with a longer" in str(got.error)
    assert model.measured == 0
    assert "--truncate" not in str(ended(options, model, model, row(1)).error) or len(model.asked) == 2


def test_the_record_says_how_many_were_dropped(script: Path) -> None:
    model = Narrow(script, 100)
    result = row_result(row(), ended(STANDARD, model, model, row()), STANDARD)
    dropped = result.to_record()["truncated"]
    assert dropped["paragraphs"] == 20
    assert set(dropped["dropped"]) == {"large"}
    wide = Narrow(script, 1000)
    assert row_result(row(), ended(STANDARD, wide, wide, row()), STANDARD).to_record()["truncated"] is None


def test_it_is_a_setting_that_a_resume_compares() -> None:
    prompts = PromptBuilder()
    settings = [method_settings(AnswerOptions(truncate=how), prompts) for how in ("none", "relevance")]  # type: ignore[arg-type]
    assert settings[0] != settings[1]
    with pytest.raises(UsageError, match=r"--truncate words: choose one of none, paragraphs, relevance"):
        AnswerOptions(truncate="words").check()  # type: ignore[arg-type]
