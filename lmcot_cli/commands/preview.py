"""What `lmcot answer --dry-run` shows."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from lmcot_cli.backends.base import Request
from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.printable import as_text, printable
from lmcot_cli.pipeline.preview import CHARACTERS_A_TOKEN, Preview


def show_preview(preview: Preview) -> None:
    """Print the prompts of the first row, then the totals over all rows."""
    with stdout_console() as console:
        for stage in preview.stages:
            console.print(Text(f"── {stage.stage}, to {printable(stage.model)} ──", style="bold"))
            for heading, text in _parts(stage.request):
                if heading:
                    console.print(Text(f"{heading}:"))
                console.print(Text("\n".join(map(printable, text.splitlines())), style="dim"), soft_wrap=True)
                console.print()
        if preview.stages:
            console.print(_table(preview))
        for note in preview.notes:
            console.print(Text(f"note: {printable(note)}"), soft_wrap=True)
        console.print(_rows(preview))
        console.print(
            "Requests and completions are upper limits: all samples, each of the maximum length. Prompts are estimated:"
            f" {CHARACTERS_A_TOKEN} characters per token.",
            style="dim",
        )


def _parts(request: Request) -> Iterator[tuple[str, str]]:
    """Yield the parts of a request with their headings; a prompt that is alone has none."""
    if request.system:
        yield "system message", request.system
    for number, shot in enumerate(request.shots, 1):
        yield f"example {number} of {len(request.shots)}", shot.prompt
        yield "its reply", shot.reply
    yield "prompt" if request.system or request.shots else "", request.prompt


def _rows(preview: Preview) -> str:
    counted = f"{preview.rows:,} row{'' if preview.rows == 1 else 's'}"
    done = f" left, {preview.done:,} already done" if preview.done else ""
    failing = f", and {preview.bad:,} that would fail" if preview.bad else ""
    return f"{counted}{done}{failing}. No model was asked."


def _table(preview: Preview) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stage", no_wrap=True)
    table.add_column("model", overflow="fold")  # a long name continues on the next line: none is cut
    for heading in ("requests", "prompt\ntokens", "completion\ntokens", "cost", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in preview.stages:
        counts = (stage.requests, stage.tokens.prompt, stage.tokens.completion)
        cost = f"{stage.cost:.4g}" if stage.cost else "-"
        memory = f"{stage.memory / 1e6:.0f} MB" if stage.memory else "-"
        table.add_row(stage.stage, as_text(stage.model), *(f"{count:,}" for count in counts), cost, memory)
    return table
