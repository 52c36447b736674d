"""Options about what models are asked beside the question, and how their replies are read; see `options`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.backends.base import Thinking
from lmcot_cli.commands.options import DEFAULTS
from lmcot_cli.pipeline.result import KeepRaw
from lmcot_cli.prompts.options import ShotsBy
from lmcot_cli.prompts.truncation import Truncate

_PROMPT, _ANSWER, _THINKING, _DATA, _ENDPOINT = "Prompt", "Answer", "Thinking", "Data", "Endpoint"


ShotsOption = Annotated[
    int | None,
    typer.Option(
        "--shots",
        metavar="N",
        help="Number of solved examples before each prompt, taken from --shots-from; base models need them.",
        show_default=str(DEFAULTS.shots),
        rich_help_panel=_PROMPT,
    ),
]
ShotsFromOption = Annotated[
    Path | None,
    typer.Option(
        "--shots-from",
        metavar="FILE",
        help="Rows to make examples of, in any layout: with an answer and, for cot and guided, a rationale or"
        " supporting facts. Their supporting paragraphs, where named, are all the context an example shows.",
        rich_help_panel=_PROMPT,
    ),
]
ShotsByOption = Annotated[
    ShotsBy | None,
    typer.Option(
        "--shots-by",
        help="first: the first rows of the file, the same for all, which are read once. bm25: those whose questions"
        " share most words with each question, the nearest last. A row is never its own example.",
        show_default=DEFAULTS.shots_by,
        rich_help_panel=_PROMPT,
    ),
]
SmallSystemOption = Annotated[
    str | None,
    typer.Option(
        "--small-system",
        metavar="TEXT|FILE",
        help="System message of the small LM: the content of a file of that name (UTF-8), else the text itself.",
        rich_help_panel=_PROMPT,
    ),
]
LargeSystemOption = Annotated[
    str | None,
    typer.Option(
        "--large-system",
        metavar="TEXT|FILE",
        help="System message of the large LM: the content of a file of that name (UTF-8), else the text itself.",
        rich_help_panel=_PROMPT,
    ),
]
ThinkingOption = Annotated[
    Thinking | None,
    typer.Option(
        "--thinking",
        help="Whether models think before they reply, where that can be chosen. auto leaves it to the model.",
        show_default=DEFAULTS.thinking,
        rich_help_panel=_THINKING,
    ),
]
SmallThinkingOption = Annotated[
    Thinking | None,
    typer.Option(
        "--small-thinking",
        help="The same for the small LM alone.",
        show_default="--thinking",
        rich_help_panel=_THINKING,
    ),
]
LargeThinkingOption = Annotated[
    Thinking | None,
    typer.Option(
        "--large-thinking",
        help="The same for the large LM alone.",
        show_default="--thinking",
        rich_help_panel=_THINKING,
    ),
]
MaxThinkingTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-thinking-tokens",
        metavar="N",
        help="Maximum tokens per thought, in addition to the other limits.",
        show_default=str(DEFAULTS.max_thinking_tokens),
        rich_help_panel=_THINKING,
    ),
]
KeepThinkingOption = Annotated[
    bool | None,
    typer.Option(
        "--keep-thinking",
        help="Keep the text of thoughts in the output, not only their length.",
        show_default="off",
        rich_help_panel=_THINKING,
    ),
]
AnswerKindOption = Annotated[
    str | None,
    typer.Option(
        "--answer",
        metavar="KIND",
        help="What an answer is: text, span (words of the context, or yes or no), yes-no, choice, number,"
        " json:SCHEMA. Local models and endpoints that can are held to it; the vote goes by value.",
        show_default=DEFAULTS.answer_kind,
        rich_help_panel=_ANSWER,
    ),
]
ChoicesOption = Annotated[
    str | None,
    typer.Option(
        "--choices",
        metavar="A,B,...",
        help="Answers to choose from, for --answer choice.",
        show_default="those of each row",
        rich_help_panel=_ANSWER,
    ),
]
AnswerRegexOption = Annotated[
    str | None,
    typer.Option(
        "--answer-regex",
        metavar="REGEX",
        help="Find the answer in a reply: the first group of the last match, or all of it.",
        rich_help_panel=_ANSWER,
    ),
]
FieldsOption = Annotated[
    str | None,
    typer.Option(
        "--fields",
        metavar="OURS=THEIRS,...",
        help="Where rows have what, if not under a usual name: question=q,context=docs,answer=a.b.",
        rich_help_panel=_DATA,
    ),
]
KeepColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--keep-columns",
        metavar="A,B|*",
        help="Other columns of the rows to keep in the output.",
        rich_help_panel=_DATA,
    ),
]
KeepRawOption = Annotated[
    KeepRaw | None,
    typer.Option(
        "--keep-raw",
        help="Replies to keep as they came. odd: those that are not word for word the rationale or answer.",
        show_default=DEFAULTS.keep_raw,
        rich_help_panel=_ANSWER,
    ),
]
TruncateOption = Annotated[
    Truncate | None,
    typer.Option(
        "--truncate",
        help="What to drop from a context that is too long for the model: whole paragraphs from the end, or the least"
        " relevant to the question first (BM25). Each row says how many.",
        show_default=DEFAULTS.truncate,
        rich_help_panel=_PROMPT,
    ),
]
RequestFieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--request-field",
        metavar="NAME=JSON",
        help="Field to add to each request to an endpoint; give it again for several.",
        rich_help_panel=_ENDPOINT,
    ),
]
