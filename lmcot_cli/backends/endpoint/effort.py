"""Tell a model behind an endpoint whether to think, for which there is no common field.

Own servers hand `chat_template_kwargs` to the model's template (vLLM, SGLang, llama-server); hosted models and gpt-oss
take `reasoning_effort`. Others, such as `thinking` or `reasoning`, are the user's to name by --request-field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lmcot_cli.backends.base import Thinking
from lmcot_cli.backends.endpoint.address import Address

EFFORT = "reasoning_effort"
TEMPLATE = "chat_template_kwargs"
FIELDS = (EFFORT, TEMPLATE, "reasoning", "thinking", "enable_thinking", "thinking_budget", "think")
"""Fields that say how to think; if the user sets one of them, no other is added."""

_EFFORTS: Mapping[Thinking, Sequence[str]] = {
    "off": ("none", "minimal", "low"),
    "on": ("medium", "high", "low"),
    "auto": (),
}
"""Efforts to ask for, best first: models differ in what they take."""

_ALWAYS_THINKS = "gpt-oss"


def thinking_fields(address: Address, thinking: Thinking, refused: set[str]) -> dict[str, Any]:
    """Return the fields that say whether to think.

    Args:
        address: The endpoint and the model.
        thinking: What is wanted.
        refused: Fields, and efforts, that the endpoint has refused.
    """
    if thinking == "auto":
        return {}
    if address.plain and _ALWAYS_THINKS not in address.model.lower() and TEMPLATE not in refused:
        wanted = thinking == "on"  # under the names that templates have for it
        return {TEMPLATE: {"enable_thinking": wanted, "thinking": wanted}}
    efforts = [effort for effort in _EFFORTS[thinking] if effort not in refused]
    return {EFFORT: efforts[0]} if efforts and EFFORT not in refused else {}


def refused_efforts(effort: str, thinking: Thinking, message: str) -> set[str]:
    """Return the efforts that an endpoint does not take, by the message that refuses one.

    Where it lists those that it takes, all others are refused; where it lists none, the field is (`EFFORT`).
    """
    quoted = set(re.findall(r"[`'\"]([a-z]+)[`'\"]", message))
    taken = [known for known in _EFFORTS[thinking] if known in quoted - {effort}]
    return {*_EFFORTS[thinking]} - {*taken} if taken else {EFFORT}
