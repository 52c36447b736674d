from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Backend, Completion, Request, Sampling, Thought
from lmcot_cli.backends.constraint import Choices
from lmcot_cli.backends.scripted import ScriptedBackend
from lmcot_cli.datasets.row import Columns, Paragraph, Row
from lmcot_cli.errors import (
    MissingChoicesError,
    MissingRationaleError,
    PromptTooLongError,
    ReplyCutError,
    RowError,
)
from lmcot_cli.pipeline.cost import FREE
from lmcot_cli.pipeline.extract import NEXT_PART, has_answer
from lmcot_cli.pipeline.flow import Flow, Outcome
from lmcot_cli.pipeline.methods import build_method
from lmcot_cli.pipeline.options import AnswerOptions, Method
from lmcot_cli.pipeline.result import RoleThought, TokenCounts
from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_cli.pipeline.waves import Drawn
from lmcot_cli.prompts.conversation import PromptBuilder


class RecordingBackend(ScriptedBackend):
    """A script that remembers what it was asked, and finds prompts with a given word too long."""

    def __init__(self, path: Path, too_long: str) -> None:
        super().__init__(path)
        self.calls: list[tuple[list[Request], Sampling]] = []
        self._too_long = too_long

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        self.calls.append((list(requests), sampling))
        return [
            PromptTooLongError(90, 20, 100) if self._too_long in request.prompt else reply
            for request, reply in zip(requests, super().complete(requests, sampling), strict=True)
        ]


Scripted = Callable[..., RecordingBackend]


@pytest.fixture
def scripted(tmp_path: Path) -> Scripted:
    def write(*lines: str, too_long: str = "\0") -> RecordingBackend:
        path = tmp_path / f"script{len(list(tmp_path.iterdir()))}.jsonl"
        path.write_text("\n".join(lines))
        return RecordingBackend(path, too_long)

    return write


def row(row_id: str, rationale: str | None = None) -> Row:
    paragraph = Paragraph("Lyon", (f"Lyon is a city of {row_id}.",))
    return Row(row_id, f"Where is {row_id}?", (paragraph,), (), None, rationale, 1)


def ended(
    options: AnswerOptions, small: RecordingBackend | None, large: RecordingBackend, rows: Sequence[Row]
) -> list[tuple[Outcome | None, Mapping[Backend, TokenCounts]]]:
    method = build_method(options, PromptBuilder(options.prompt_options, options.stages), small, large)
    flow = Flow(method, {model: FREE for model in (small, large) if model})
    return [(failure_of(outcome) or outcome, spent) for _, outcome, spent in flow.run(iter(rows))]


def failure_of(outcome: Outcome | None) -> RowError | None:
    return outcome.error if isinstance(outcome, Drawn) else None


def outcomes(
    options: AnswerOptions, small: RecordingBackend | None, large: RecordingBackend, rows: Sequence[Row]
) -> list[Outcome | None]:
    return [outcome for outcome, _ in ended(replace(options, stop="none"), small, large, rows)]


def worked(drawn: Outcome | None) -> Drawn:
    assert isinstance(drawn, Drawn)
    return drawn


def test_standard_asks_for_all_samples_of_a_row_in_one_call(scripted: Scripted):
    large = scripted('"Lyon."', '"Paris\\nmore"', '" "', '"Nice"')
    options = AnswerOptions(method="standard", samples=2, seed=7, stop="none")
    (one, spent), (other, _) = ended(options, None, large, [row("a"), row("b")])
    first, second = worked(one), worked(other)

    [(ours, sampling), (theirs, _)] = large.calls
    requests = ours + theirs
    assert sampling == Sampling(0.7, 0.95, 48, NEXT_PART, enough=has_answer)
    assert [request.seed for request in requests] == [
        sample_seed(7, id_, i) for id_ in "ab" for i in range(2)
    ]
    assert [sample.answer for sample in first.samples + second.samples] == ["Lyon", "Paris", None, "Nice"]
    assert all(sample.rationale is None for sample in first.samples)
    assert first.samples[1].seed == sample_seed(7, "a", 1)
    assert spent == {large: TokenCounts(sum(len(r.prompt.split()) for r in requests[:2]), 3)}


def test_cot_splits_each_chain(scripted: Scripted):
    large = scripted('"A is B. So the answer is Lyon."', '"So the answer is Nice."')
    options = AnswerOptions(method="cot", samples=2)
    [drawn] = map(worked, outcomes(options, None, large, [row("a")]))

    assert [(s.rationale, s.answer, s.tokens) for s in drawn.samples] == [
        ("A is B.", "Lyon", 8),
        ("", "Nice", 5),
    ]
    assert large.calls[0][1].max_tokens == 256


def test_a_chain_that_states_no_answer_is_read_once_more_as_a_rationale(scripted: Scripted):
    """Real models forget the ending: of 20 chains of SmolLM2 on HotpotQA rows, 12 had none."""
    chain = '{"text": "A is in B.", "finish_reason": "length", "logprob": -2.0}'
    large = scripted(chain, chain, '"So the answer is Nice."', '{"text": "Lyon", "logprob": -0.5}')
    options = AnswerOptions(method="cot", samples=3, stop="none")
    [drawn] = map(worked, outcomes(options, None, large, [row("a")]))

    assert [(s.answer, s.rationale, s.logprob) for s in drawn.samples] == [
        ("Lyon", "A is in B.", -0.5),
        ("Lyon", "A is in B.", -0.5),
        ("Nice", "", None),
    ]
    assert [(s.finish_reason, s.rationale_finish_reason) for s in drawn.samples] == [
        ("stop", "length"),
        ("stop", "length"),
        ("stop", None),
    ]
    [(chains, _), ([asked], sampling)] = large.calls
    assert len(chains) == 3
    assert "Rationale: A is in B." in asked.prompt  # equal chains are read once
    assert (sampling.temperature, sampling.limit) == (0, "--max-answer-tokens")


def test_where_the_user_says_what_an_answer_looks_like_a_chain_without_one_has_none(scripted: Scripted):
    large = scripted('"A is in B."')
    options = AnswerOptions(method="cot", answer_regex="<(.*)>")
    [drawn] = map(worked, outcomes(options, None, large, [row("a")]))
    assert [s.answer for s in drawn.samples] == [None]


def test_guided_asks_each_model_once_and_alike_rationales_once(scripted: Scripted):
    small = scripted(*['" R1\\n"', '"R2"', '"R1"', '"R3"', '"R3"', '"R3"'])
    large = scripted('{"text": "Lyon.", "logprob": -0.5}', '"Nice"', '"Paris"')
    options = AnswerOptions(samples=3, stop="none")
    (one, spent), (other, _) = ended(options, small, large, [row("a"), row("b")])
    first, second = worked(one), worked(other)

    (_, sampling_small), (_, sampling_large) = small.calls[0], large.calls[0]
    asked_large = [request for requests, _ in large.calls for request in requests]
    assert [len(requests) for requests, _ in small.calls] == [3, 3]
    assert sampling_small.temperature == 0.7
    assert [r.prompt.split("Rationale: ")[1][:2] for r in asked_large] == ["R1", "R2", "R3"]
    assert sampling_large == Sampling(0.0, 1.0, 48, NEXT_PART, enough=has_answer)
    assert [(s.rationale, s.answer) for s in first.samples] == [
        ("R1", "Lyon"),
        ("R2", "Nice"),
        ("R1", "Lyon"),
    ]
    assert first.samples[0].logprob == -0.5
    assert first.samples[0].tokens == 2
    assert spent[small].completion == 3
    assert spent[large].completion == 2
    assert [s.answer for s in second.samples] == ["Paris"] * 3
    assert first.samples[2].seed == sample_seed(0, "a", 2)


LENGTH = '{"text": %s, "finish_reason": "length"}'


def test_samples_record_why_their_replies_ended(scripted: Scripted):
    large = scripted(LENGTH % '"Lyon\\nAnd more"', LENGTH % '"Ly"', '"Lyon"', LENGTH % '""')
    [drawn] = map(worked, outcomes(AnswerOptions(method="standard", samples=4), None, large, [row("a")]))

    assert [s.answer for s in drawn.samples] == ["Lyon", "Ly", "Lyon", None]
    assert [s.finish_reason for s in drawn.samples] == ["stop", "length", "stop", "length"]
    assert {s.rationale_finish_reason for s in drawn.samples} == {None}


@pytest.mark.parametrize(("method", "option"), [("standard", "--max-answer-tokens"), ("cot", "--max-tokens")])
def test_a_row_of_replies_that_a_limit_left_empty_fails(scripted: Scripted, method: Method, option: str):
    large = scripted(LENGTH % '" \\n"', LENGTH % '""', '"Lyon"')
    options = AnswerOptions(method=method, samples=2, stop="none")
    [cut] = outcomes(options, None, large, [row("a")])

    assert isinstance(cut, ReplyCutError)
    assert option in str(cut)
    assert "--max-thinking-tokens" in str(cut)


def test_a_rationale_that_a_limit_left_empty_is_not_answered(scripted: Scripted):
    small = scripted(LENGTH % '""', LENGTH % '"R2"', LENGTH % '""', LENGTH % '""')
    large = scripted('"Lyon"')
    first, second = outcomes(AnswerOptions(samples=2), small, large, [row("a"), row("b")])

    assert [(s.answer, s.finish_reason) for s in worked(first).samples] == [(None, None), ("Lyon", "stop")]
    assert [s.rationale_finish_reason for s in worked(first).samples] == ["length", "length"]
    assert isinstance(second, ReplyCutError)
    assert "the small LM" in str(second)
    assert len(large.calls[0][0]) == 1


def test_an_empty_reply_that_ended_by_itself_is_no_answer_and_no_error(scripted: Scripted):
    [drawn] = map(worked, outcomes(AnswerOptions(method="standard"), None, scripted('""'), [row("a")]))
    assert [(s.answer, s.finish_reason) for s in drawn.samples] == [(None, "stop")]


class ThinkingBackend(RecordingBackend):
    """Thinks before each reply, and can be held to choices."""

    constraints = frozenset({Choices})

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        replies = super().complete(requests, sampling)
        return [
            replace(one, thought=Thought(5, "Hm.", finished=bool(one.text)))
            if isinstance(one, Completion)
            else one
            for one in replies
        ]


def test_thoughts_are_recorded_and_their_text_only_if_asked(scripted: Scripted, tmp_path: Path):
    (tmp_path / "s").write_text('"R"\n"R"')
    small = ThinkingBackend(tmp_path / "s", "\0")
    options = AnswerOptions(keep_thinking=True)
    kept, forgotten = (
        worked(outcomes(one, small, scripted('"Lyon"'), [row("a")])[0]).samples[0].thoughts
        for one in (options, AnswerOptions())
    )

    assert kept == (RoleThought("small", 5, "Hm."),)
    assert forgotten == (RoleThought("small", 5),)


def test_a_thought_that_took_all_there_was_names_its_limit(tmp_path: Path):
    (tmp_path / "s").write_text(LENGTH % '""')
    large = ThinkingBackend(tmp_path / "s", "\0")
    [cut] = outcomes(AnswerOptions(method="standard"), None, large, [row("a")])

    assert isinstance(cut, ReplyCutError)
    assert "thought for 5 tokens" in str(cut)
    assert "--max-thinking-tokens" in str(cut)


def test_a_constraint_goes_to_a_model_that_can_be_held_to_it(scripted: Scripted, tmp_path: Path):
    (tmp_path / "s").write_text('"yes"\n"So the answer is yes."\n"5"')
    held, free = ThinkingBackend(tmp_path / "s", "\0"), scripted('"Yes, it is."')
    options = AnswerOptions(method="standard", answer_kind="yes-no")
    for model in (held, free):
        assert worked(outcomes(options, None, model, [row("a")])[0]).samples[0].answer == "yes"
    outcomes(replace(options, method="cot"), None, held, [row("a")])
    outcomes(replace(options, answer_kind="number"), None, held, [row("a")])

    asked = [requests[0].constraint for requests, _ in [*held.calls, *free.calls]]
    assert asked == [Choices(("yes", "no")), None, None, None]


def test_an_answer_that_is_not_of_its_kind_is_none(scripted: Scripted):
    options = AnswerOptions(method="standard", samples=2, answer_kind="number")
    [drawn] = map(worked, outcomes(options, None, scripted('"Lyon"', '"about 1,000"'), [row("a")]))
    assert [s.answer for s in drawn.samples] == [None, "1000"]


def test_a_row_without_choices_fails_alone(scripted: Scripted):
    options = AnswerOptions(method="standard", answer_kind="choice")
    with_some = replace(row("b"), extra=Columns(choices=["Lyon", "Nice"]))
    without, good = outcomes(options, None, scripted('"A"'), [row("a"), with_some])

    assert isinstance(without, MissingChoicesError)
    assert worked(good).samples[0].answer == "Lyon"


def test_both_prompts_of_a_row_start_alike_so_that_an_engine_can_share_them(scripted: Scripted):
    small, large = scripted('"R1"'), scripted('"Lyon"')
    outcomes(AnswerOptions(), small, large, [row("a")])
    rationale_prompt, answer_prompt = small.calls[0][0][0].prompt, large.calls[0][0][0].prompt
    shared = answer_prompt.split("Rationale:")[0]

    assert rationale_prompt.startswith(shared)
    assert "Where is a?" in shared


def test_a_failed_request_fails_its_row_and_no_other(scripted: Scripted):
    small = scripted('{"match": "", "text": "R"}', too_long="Where is b?")
    large = scripted('{"match": "", "text": "Lyon"}', too_long="Where is c?")
    a, b, c, d = outcomes(AnswerOptions(samples=2), small, large, [row("a"), row("b"), row("c"), row("d")])

    assert isinstance(b, PromptTooLongError)
    assert isinstance(c, PromptTooLongError)
    assert [s.answer for s in worked(a).samples + worked(d).samples] == ["Lyon"] * 4
    assert not any("Where is b?" in request.prompt for request in large.calls[0][0])


def test_given_rationales_take_the_place_of_the_small_model(scripted: Scripted):
    large = scripted('"Lyon"')
    rows = [row("a", "Lyon is old."), row("b")]
    (with_one, spent), (without, nothing) = ended(AnswerOptions(given_rationales=True), None, large, rows)

    assert "Rationale: Lyon is old." in large.calls[0][0][0].prompt
    assert worked(with_one).samples[0].rationale == "Lyon is old."
    assert (list(spent), nothing) == ([large], {})
    assert isinstance(without, MissingRationaleError)


def test_text_that_is_no_text_fails_its_row(scripted: Scripted):
    large = scripted('"So the answer is Lyon."')
    broken = Row("b", "\ud83d?", (), (), None, None, 1)
    good, bad = outcomes(AnswerOptions(method="cot"), None, large, [row("a"), broken])

    assert isinstance(good, Drawn)
    assert isinstance(bad, RowError)
    assert "surrogate" in str(bad)


def test_a_rationale_that_an_earlier_wave_had_is_not_answered_again(scripted: Scripted):
    small = scripted('"R1"', '"R2"', '"R2"', '"R1"')
    large = scripted('"Lyon"', '"Nice"')
    [(drawn, spent)] = ended(AnswerOptions(samples=4, stop="window:2"), small, large, [row("a")])

    assert [len(requests) for requests, _ in small.calls] == [2, 2]
    assert [len(requests) for requests, _ in large.calls] == [2]
    assert [s.answer for s in worked(drawn).samples] == ["Lyon", "Nice", "Nice", "Lyon"]
    assert spent[large].completion == 2
