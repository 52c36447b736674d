"""The ways in which chat templates switch thinking: variables of many names, or a word in a message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lmcot_cli.backends.base import Thinking

_VARIABLES: Mapping[str, tuple[Any, Any]] = {
    "enable_thinking": (False, True),  # Qwen3, SmolLM3, GLM, Gemma 4, Nemotron 3
    "thinking": (False, True),  # Granite 3.2 and 3.3, DeepSeek-V3.1
    "reasoning": (False, True),  # Command A
    "thinking_budget": (0, -1),  # Seed-OSS
    "thinking_mode": ("disabled", "enabled"),  # MiniMax-M3
}
"""Variables of templates, with their values for `off` and `on`."""

EFFORT = "reasoning_effort"  # gpt-oss, Hunyuan 3, Solar Open
_NO_EFFORT = ("none", "no_think", "minimal")
_EFFORTS: Mapping[str, tuple[str, ...]] = {"off": (*_NO_EFFORT, "low"), "on": ("high",)}
_WORDS: Mapping[str, str] = {"off": "/no_think", "on": "/think"}  # Nemotron Nano 2


class ThinkingSwitches:
    """The switches of one template.

    Args:
        asked: Its variables.
        compared: The strings that it compares `EFFORT` with.
        strings: All of its strings.

    Attributes:
        known: Whether it has a switch.
        can_be_off: Whether a switch can turn thinking off, and not only reduce it.
    """

    def __init__(self, asked: Collection[str], compared: Collection[str], strings: Collection[str]) -> None:
        self._variables = sorted(_VARIABLES.keys() & set(asked))
        self._compared = compared
        self._has_effort = EFFORT in asked and not self._variables
        self._has_words = not set(asked) & {*_VARIABLES, EFFORT} and _WORDS["off"] in strings
        self.known = bool(self._variables or self._has_effort or self._has_words)
        effort_goes = any(effort in self._compared for effort in (*_NO_EFFORT, "low"))
        self.can_be_off = self.known and (effort_goes or not self._has_effort)

    def settings(self, thinking: Thinking) -> tuple[dict[str, Any], str | None]:
        """Return the values to render with, and the word to add to a message; neither for `auto`."""
        if thinking == "auto":
            return {}, None
        values = {name: _VARIABLES[name][thinking == "on"] for name in self._variables}
        if self._has_effort:
            values[EFFORT] = self._effort(thinking)
        return values, _WORDS[thinking] if self._has_words else None

    def _effort(self, thinking: str) -> str:
        """Choose an effort that the template compares with; one that compares with none, as gpt-oss's, takes any."""
        efforts = _EFFORTS[thinking]
        usual = "low" if thinking == "off" else "medium"
        return next((effort for effort in efforts if effort in self._compared), usual)
