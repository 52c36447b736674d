from dataclasses import replace

import pytest

from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.options import AnswerOptions


def test_the_defaults_can_work():
    AnswerOptions().check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "--samples 0: give 1 or more"),
        ({"limit": 0}, "--limit 0"),
        ({"max_tokens": 0}, "--max-tokens 0"),
        ({"max_answer_tokens": -1}, "--max-answer-tokens -1"),
        ({"temperature": -0.5}, "--temperature -0.5"),
        ({"temperature": float("nan")}, "--temperature nan"),
        ({"top_p": 0.0}, "--top-p 0"),
        ({"top_p": 1.5}, "--top-p 1.5"),
        ({"method": "magic"}, "--method magic: choose one of standard, cot, guided"),
        ({"method": "cot", "given_rationales": True}, "needs --method guided"),
        ({"samples": 5, "given_rationales": True}, "use --samples 1, not 5"),
        ({"samples": 5, "temperature": 0.0}, "makes all 5 samples alike"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], message: str):
    with pytest.raises(UsageError) as caught:
        replace(AnswerOptions(), **changes).check()
    assert message in str(caught.value)


def test_one_sample_is_greedy_and_several_are_not():
    assert AnswerOptions().sampled_temperature == 0
    assert AnswerOptions(samples=5).sampled_temperature == 0.7
    assert AnswerOptions(samples=5, temperature=1.2).sampled_temperature == 1.2


def test_what_limits_a_completion_is_the_option_of_its_stage():
    options = AnswerOptions()

    assert (
        options.sampling_of("standard").limit
        == options.sampling_of("guided_answer").limit
        == "--max-answer-tokens"
    )
    assert options.sampling_of("cot").limit == options.sampling_of("guided_rationale").limit == "--max-tokens"


def test_the_answer_to_a_rationale_is_greedy_whatever_the_rationales_are():
    options = AnswerOptions(samples=5, temperature=1.2)

    assert options.sampling_of("guided_answer").temperature == 0
    assert options.sampling_of("guided_rationale").temperature == 1.2
