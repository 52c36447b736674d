"""The thought before a reply: the marks that models put around it, and how a text is split at them.

Only the beginning of a text is a thought, with thoughts that follow at once or are nested in it. A text may also have
only a closing mark: then the prompt's template wrote the opening one, and everything before the closing mark is the
thought. Marks count in any case: models that are told about tags may write them in capitals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks around a thought.

    Attributes:
        opening: The text that begins it.
        closing: A regular expression for the text that ends it.
        alone: Whether `closing` ends a thought that nothing opened, which plain words do not.
        inner: A regular expression for marks within a thought that are not its text.
        after: The text that ends the reply after such a thought, for models that wrap the reply, too.
    """

    opening: str
    closing: str
    alone: bool = True
    inner: str = ""
    after: str = ""


_HARMONY = Marks(
    "<|channel|>",
    r"<\|channel\|>final[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>",
    inner=r"<\|channel\|>[^<]*<\|message\|>|<\|end\|>|<\|start\|>assistant[^<]*",
    after="<|end|>",
)
"""gpt-oss: channels `analysis` and `commentary`, then `final`."""


def _tags(opening: str, closing: str, **more: bool | str) -> Marks:
    return Marks(opening, re.escape(closing), **more)  # type: ignore[arg-type]


FORMATS = (
    # Qwen3, DeepSeek-R1, SmolLM3, Phi-4-reasoning, GLM, Granite 3.3, Nemotron, LFM2.5
    _tags("<think>", "</think>"),
    _tags("<thinking>", "</thinking>", alone=False),
    _tags("<thought>", "</thought>", alone=False),  # EXAONE Deep
    _tags("<reasoning>", "</reasoning>", alone=False),
    _tags("<seed:think>", "</seed:think>"),
    _tags("<think:opensource>", "</think:opensource>"),  # Hunyuan 3
    _tags("<mm:think>", "</mm:think>"),  # MiniMax-M3
    _tags("[THINK]", "[/THINK]"),  # Magistral, Ministral 3
    _tags("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A and R7B
    _tags("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    _tags("◁think▷", "◁/think▷"),  # Kimi-VL
    _tags("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1, OpenThinker
    _tags("<|channel>thought", "<channel|>"),  # Gemma 4
    _HARMONY,
)

_WORDS = (
    _tags("Here is my thought process:", "Here is my response:"),  # Granite 3.2
    _tags("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", after="[END FINAL RESPONSE]"),  # Apriel
)
"""Marks that any model may write as words of its reply: they count in pairs, or where the prompt opened them."""

_WRAPPERS = {
    "<response>": "</response>",  # Granite 3.3, Ernie 4.5
    "<answer>": "</answer>",  # Hunyuan
    "<|begin_of_solution|>": "<|end_of_solution|>",  # Sky-T1, OpenThinker
    "<|START_RESPONSE|>": "<|END_RESPONSE|>",
    "<|START_TEXT|>": "<|END_TEXT|>",
}
"""Marks around the reply that follows a thought."""

_HARMONY_MARKS = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>"})
MARK_TOKENS = _HARMONY_MARKS | {
    *(marks.opening for marks in FORMATS),
    *(marks.closing.replace("\\", "") for marks in FORMATS if marks is not _HARMONY),
    "<|channel>",
}
"""Texts of control tokens that begin or end a thought; those of any other control token are not shown."""

OPENINGS = frozenset(marks.opening for marks in (*FORMATS, *_WORDS))
"""Beginnings of thoughts: a template with one of these belongs to a model that thinks."""

_ALONE = re.compile("|".join(marks.closing for marks in FORMATS if marks.alone), re.IGNORECASE)
_AGAIN = re.compile(
    "|".join(rf"{marks.closing}\s*{re.escape(marks.opening)}" for marks in FORMATS if marks is not _HARMONY),
    re.IGNORECASE,
)
"""Where one thought ends and the next begins."""

_SPACE = re.compile(r"\s*")
_LONGEST = 64
"""Maximum characters of a mark, which may have begun that far back."""


class Part(Enum):
    """The parts of a text."""

    UNDECIDED = auto()
    THOUGHT = auto()
    REPLY = auto()


class Splitter:
    """Splits a growing text into thought and reply.

    Attributes:
        part: The part that the text has reached; undecided while it may become an opening mark.
    """

    def __init__(self, opened: Marks | None = None) -> None:
        self.part = Part.THOUGHT if opened else Part.UNDECIDED
        self._marks = opened
        self._text = ""
        self._thought = (0, 0)
        self._begin = self._within = 0  # of the latest thought; opening marks in it without a closing one
        self._reply = 0

    @property
    def has_thought(self) -> bool:
        """Whether a thought has begun."""
        return self._marks is not None

    @property
    def thought(self) -> str | None:
        """The thought so far without marks; None where there is none."""
        if self._marks is None:
            return None
        begin, end = self._thought
        text = _AGAIN.sub("\n", self._text[begin : None if self.part is Part.THOUGHT else end])
        return (re.sub(self._marks.inner, "\n", text) if self._marks.inner else text).strip()

    @property
    def reply(self) -> str:
        """The reply so far; after a thought, without the white space and marks around it."""
        if self.part is Part.THOUGHT:
            return ""
        text = self._text[self._reply :]
        return _unwrapped(text.lstrip(), self._marks.after) if self._marks else text

    def add(self, text: str) -> None:
        """Append text."""
        seen = max(len(self._text) - _LONGEST, 0)
        self._text += text
        if self.part is Part.UNDECIDED:
            self._decide()
        if self.part is Part.THOUGHT:
            self._look_for_the_end(seen)
        elif self.part is Part.REPLY and self._marks is None:
            self._look_back(seen)
        while self.part is Part.REPLY and self._marks and self._goes_on(self._marks):
            pass

    def add_mark(self, text: str) -> None:
        """Append the text of a control token; within the reply only the end of a thought before it counts."""
        opens_another = not self.reply and _opening_of(text) is not None
        if self.part is not Part.REPLY or opens_another or (self._marks is None and _ALONE.fullmatch(text)):
            self.add(text)

    def may_think(self, text: str) -> bool:
        """Return whether the text followed by this is a thought, or the beginning of its opening mark."""
        begun = (self._text + text).lstrip()
        may_begin = any(_agree(begun, marks.opening) for marks in FORMATS)
        return self.part is Part.THOUGHT or (self.part is Part.UNDECIDED and may_begin)

    def _decide(self) -> None:
        begun = self._text.lstrip()
        if marks := _opening_of(begun):
            begin = len(self._text) - len(begun)
            self._begin = begin if marks is _HARMONY else begin + len(marks.opening)
            self._thought = (self._begin, 0)
            self._marks, self.part = marks, Part.THOUGHT
        elif begun and not any(_agree(begun, marks.opening) for marks in FORMATS):
            self.part = Part.REPLY

    def _look_for_the_end(self, seen: int) -> None:
        assert self._marks
        found = _pattern(self._marks.closing).search(self._text, max(self._may_have_begun(seen), self._begin))
        if found:
            self._end_at(self._thought[0], found)

    def _end_at(self, thought: int, closing: re.Match[str]) -> None:
        """End the thought that began at `thought` (its latest part at `_begin`) at a closing mark."""
        assert self._marks
        opening = _pattern(re.escape(self._marks.opening))
        self._within += sum(1 for _ in opening.finditer(self._text, self._begin, closing.start()))
        self._thought = (thought, closing.start())
        self._reply, self.part = closing.end(), Part.REPLY

    def _may_have_begun(self, seen: int) -> int:
        """Return where a mark may begin that was incomplete before; those of gpt-oss have no maximum length."""
        channel = self._text.rfind(_HARMONY.opening, 0, seen + len(_HARMONY.opening))
        return channel if channel >= 0 and "<|message|>" not in self._text[channel:seen] else seen

    def _goes_on(self, marks: Marks) -> bool:
        """Return whether the reply so far is another thought, or the rest of one with a nested thought."""
        begin = _SPACE.match(self._text, self._reply).end()  # type: ignore[union-attr]  # it matches anywhere
        if marks is not _HARMONY and (another := _opening_of(self._text[begin : begin + _LONGEST])):
            self._marks, self.part = another, Part.THOUGHT
            self._begin = begin + len(another.opening)
            self._look_for_the_end(self._begin)
            return True
        closing = _pattern(marks.closing).search(self._text, self._reply) if self._within else None
        opening = _pattern(re.escape(marks.opening))
        if closing is None or opening.search(self._text, self._reply, closing.start()):
            return False
        self._thought = (self._thought[0], closing.start())
        self._reply = closing.end()
        self._within -= 1
        return True

    def _look_back(self, seen: int) -> None:
        """Make a thought of the reply so far if it contains a closing mark; the first one counts."""
        alone = _ALONE.search(self._text, self._may_have_begun(seen))
        found = [(alone, 0)] if alone else []
        for marks in _WORDS:
            if self._text.lstrip().startswith(marks.opening):
                begin = self._text.index(marks.opening) + len(marks.opening)
                closing = re.compile(marks.closing).search(self._text, max(seen, begin))
                found += [(closing, begin)] if closing else []
        if found:
            closing, self._begin = min(found, key=lambda one: one[0].end())
            formats = (*FORMATS, *_WORDS)
            self._marks = next(one for one in formats if _pattern(one.closing).fullmatch(closing[0]))
            self._end_at(self._begin, closing)


@cache
def _pattern(mark: str) -> re.Pattern[str]:
    return re.compile(mark, re.IGNORECASE)


def _opening_of(text: str) -> Marks | None:
    """Return the marks of the thought that a text begins with; None if there is none."""
    begun = text[:_LONGEST].lower()
    return next((marks for marks in FORMATS if begun.startswith(marks.opening.lower())), None)


def _agree(one: str, other: str) -> bool:
    """Return whether one of two texts begins with the other, in any case."""
    one, other = one[:_LONGEST].lower(), other.lower()
    return one.startswith(other) or other.startswith(one)


@dataclass(frozen=True, slots=True)
class Split:
    """A whole text, split.

    Attributes:
        reply: The text after the thought; all of it where there is none.
        thought: The thought without marks; None where there is none.
        finished: Whether the thought has ended.
    """

    reply: str
    thought: str | None = None
    finished: bool = True


def split(text: str) -> Split:
    """Split a whole text into thought and reply."""
    splitter = Splitter()
    splitter.add(text)
    return Split(splitter.reply, splitter.thought, splitter.part is not Part.THOUGHT)


def opened_by(prompt: str) -> Marks | None:
    """Return the marks of the thought that a prompt has opened at its end; None if it has not."""
    end = prompt.rstrip()
    return next((marks for marks in (*FORMATS, *_WORDS) if end.endswith(marks.opening)), None)


def _unwrapped(reply: str, after: str) -> str:
    """Remove the marks around a reply, as far as they are complete."""
    if after:
        return reply.partition(after)[0].rstrip() if after in reply else reply
    for opening, closing in _WRAPPERS.items():
        if reply.startswith(opening):
            return reply.removeprefix(opening).partition(closing)[0].strip()
        if opening.startswith(reply):  # an incomplete mark
            return ""
    return reply
