"""Templates in the manner of real ones, cut down to what says whether to think."""

from __future__ import annotations

import pytest

from lmcot_cli.backends.base import Request
from lmcot_cli.backends.chat import ChatTemplate

TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
QWEN = TURNS + "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
GRANITE = "{% if thinking %}Write your thoughts between <think></think>.{% endif %}" + TURNS
GPT_OSS = (
    "{% if reasoning_effort is not defined %}{% set reasoning_effort = 'medium' %}{% endif %}"
    "Reasoning: {{ reasoning_effort }}\n" + TURNS + "{% if tools %}<|channel|>{% endif %}"
)
HUNYUAN = (
    "{% if not reasoning_effort is defined %}{% set reasoning_effort = 'no_think' %}"
    "{% elif reasoning_effort not in ['high', 'low', 'no_think'] %}{{ raise_exception('effort') }}{% endif %}"
    + TURNS
    + "{{ '<think></think>' if reasoning_effort == 'no_think' }}"
)
SEED = "{% if thinking_budget is defined %}budget {{ thinking_budget }}{% endif %}" + TURNS
MINIMAX = (
    TURNS
    + "{% if thinking_mode == 'disabled' %}</mm:think>{% elif thinking_mode == 'enabled' %}<mm:think>{% endif %}"
)
NEMOTRON = (
    "{% set ns = namespace(think=true) %}{% for m in messages %}"
    "{% if '/no_think' in m.content %}{% set ns.think = false %}{% endif %}"
    "[{{ m.role }}]{{ m.content.replace('/no_think', '').replace('/think', '').strip() }}{% endfor %}"
    "[assistant]{{ '<think>' if ns.think else '<think></think>' }}"
)
R1 = TURNS + "<think>"

Q = "[user]Q[assistant]"
RENDERED = {
    "qwen": (QWEN, Q + "<think></think>", Q, Q),
    "granite": (GRANITE, Q, "Write your thoughts between <think></think>." + Q, Q),
    "gpt-oss": (GPT_OSS, f"Reasoning: low\n{Q}", f"Reasoning: medium\n{Q}", f"Reasoning: medium\n{Q}"),
    "hunyuan": (HUNYUAN, Q + "<think></think>", Q, Q + "<think></think>"),
    "seed": (SEED, f"budget 0{Q}", f"budget -1{Q}", Q),
    "minimax": (MINIMAX, Q + "</mm:think>", Q + "<mm:think>", Q),
    "nemotron": (NEMOTRON, f"[system]{Q}<think></think>", f"[system]{Q}<think>", f"{Q}<think>"),
    "r1": (R1, *[f"{Q}<think>"] * 3),
    "without": (TURNS, Q, Q, Q),
}


@pytest.mark.parametrize(("source", "off", "on", "auto"), RENDERED.values(), ids=RENDERED)
def test_each_template_is_told_in_its_own_words(source: str, off: str, on: str, auto: str) -> None:
    template = ChatTemplate(source, "m", {})
    assert template.render(Request("Q", 0), "off") == off
    assert template.render(Request("Q", 0), "on") == on
    assert template.render(Request("Q", 0), "auto") == auto


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("qwen", False),
        ("granite", False),
        ("hunyuan", False),
        ("seed", False),
        ("minimax", False),
        ("nemotron", False),
        ("without", False),
        ("gpt-oss", True),  # its effort can be made low, not none
        ("r1", True),
    ],
)
def test_a_model_told_not_to_think_may_do_so_only_where_it_cannot_be_told(name: str, may: bool) -> None:
    template = ChatTemplate(RENDERED[name][0], "m", {})
    assert template.thinks("off") is may
    assert template.thinks("on") and template.thinks("auto")


def test_a_switch_that_changes_nothing_does_not_count() -> None:
    stripped = TURNS.replace(
        "m.content", "m.content.split('<think>')[0] if not enable_thinking else m.content"
    )
    assert ChatTemplate(stripped, "m", {}).thinks("off")


def test_a_system_message_and_the_word_that_switches_thinking_stand_together() -> None:
    rendered = ChatTemplate(NEMOTRON, "m", {}).render(Request("Q", 0, system="Be brief."))
    assert rendered == f"[system]Be brief.{Q}<think></think>"
