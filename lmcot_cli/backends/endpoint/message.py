"""Read what a model said in all forms that endpoints have for it: text, parts, thoughts, tool calls."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lmcot_cli.backends.thinking import split
from lmcot_cli.errors import RowError

_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Where endpoints put a thought: vLLM, SGLang, llama-server and DeepSeek the first, OpenRouter and new vLLM the second
(OpenRouter the last, too, in parts), Ollama the third."""

_THOUGHT_PARTS = ("thinking", "reasoning", "reasoning.text", "reasoning.summary", "thought", "summary_text")
_TEXT_PARTS = ("text", "output_text")
_LEFT_OVER = re.compile(
    r"<\|(?:im_end|eot_id|end_of_text|endoftext|return|end|eom_id|end_of_role)\|>.*|<end_of_turn>.*"
    r"|(?<!\s)(?<!</s>)\s*+(?:</s>\s*+)++\Z",  # looks at each place once, however much white space there is
    re.DOTALL,
)
"""The token that ends a reply, and what follows it: some servers pass both on as text."""
LONGEST_TEXT = 2**20
"""Characters of a reply with its thought. No model writes more, and work on a text must end."""
_REFUSED = (
    "refusal",
    "safety",
    "prohibited_content",
    "recitation",
    "blocklist",
    "spii",
    "guardrail_intervened",
)
"""What providers call a reply that was withheld, in addition to `content_filter`."""
_SHOWN = 200
"""Characters of a refusal that a message repeats."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a choice holds.

    Attributes:
        text: The reply, or nothing.
        thought: What was thought before it, or nothing.
        finished: Whether a thought within the text came to its end.
        refusal: Why the model refuses to reply, or nothing.
        tools: Names of the tools that it called instead.
        overlong: Whether it was longer than any model writes; nothing of it is kept.
    """

    text: str
    thought: str = ""
    finished: bool = True
    refusal: str = ""
    tools: tuple[str, ...] = ()
    overlong: bool = False

    def fault(self, finish_reason: str | None) -> RowError | None:
        """Return why there is no reply, unless it lacked tokens; None if there is one."""
        if self.overlong:
            return RowError(
                f"the reply has more than {LONGEST_TEXT:,} characters, more than any model writes"
            )
        if self.text.strip():
            return None
        if self.refusal.strip():
            return RowError(
                f"the model refused to reply: {_short(self.refusal)}; --prompts changes what it is asked"
            )
        if finish_reason and finish_reason.lower() in _REFUSED:
            return RowError(f"the model or its provider refused to reply (finish_reason {finish_reason})")
        if self.tools or finish_reason in ("tool_calls", "function_call", "tool_use"):
            named = f" ({', '.join(self.tools)})" if self.tools else ""
            return RowError(
                f"the model called a tool{named} instead of replying, and lmcot has none: choose a model or an endpoint"
                " without tools, or say so with --large-system or --small-system"
            )
        return None


def read_message(message: Mapping[str, Any]) -> Said:
    """Read the message of a chat reply; unknown fields are ignored."""
    parts = _parts(message.get("content"))
    fields = (_text_of(message.get(name)) for name in _THOUGHTS)
    return Said(
        _joined(parts, _TEXT_PARTS),
        next((thought for thought in fields if thought.strip()), "") or _joined(parts, _THOUGHT_PARTS),
        refusal=_text_of(message.get("refusal")) or _joined(parts, ("refusal",)),
        tools=tuple(_tools(message)),
    )


def without_tags(said: Said) -> Said:
    """Split off a thought that stands in the text, in tags or its own channel; drop a text that is much too long."""
    if len(said.text) + len(said.thought) > LONGEST_TEXT:
        return Said("", overlong=True)
    parted = split(said.text)
    if parted.thought is None:
        return replace(said, text=_LEFT_OVER.sub("", said.text))
    thought = "\n".join(part for part in (said.thought, parted.thought) if part.strip())
    return replace(said, text=_LEFT_OVER.sub("", parted.reply), thought=thought, finished=parted.finished)


def _parts(content: Any) -> list[tuple[str, str]]:
    """Return the kind and the text of each part of a content."""
    if isinstance(content, str):
        return [("text", content)]
    listed = content if isinstance(content, list) else [content]
    return [_part(part) for part in listed if isinstance(part, str | dict)]


def _part(part: str | dict[str, Any]) -> tuple[str, str]:
    if isinstance(part, str):
        return "text", part
    kind = part.get("type", "text")
    return (kind if isinstance(kind, str) else "", _text_of(part))


def _joined(parts: Iterable[tuple[str, str]], kinds: tuple[str, ...]) -> str:
    return "".join(text for kind, text in parts if kind in kinds)


def _text_of(value: Any) -> str:
    """Return the text in a value: a string, a list of texts, or an object that holds one."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text_of(item) for item in value)
    if isinstance(value, dict):
        names = ("text", "value", "thinking", "reasoning", "summary", "refusal", "content")
        return next((text for name in names if (text := _text_of(value.get(name)))), "")
    return ""


def _tools(message: Mapping[str, Any]) -> Iterable[str]:
    """Yield the names of the tools that a message calls."""
    calls = message.get("tool_calls")
    for call in [*(calls if isinstance(calls, list) else []), {"function": message.get("function_call")}]:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            name = function.get("name")
            yield _short(name) if isinstance(name, str) and name else "unnamed"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
