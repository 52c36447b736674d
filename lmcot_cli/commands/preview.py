"""What `lmcot answer --dry-run` shows."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from lmcot_cli.commands.console import stdout_console
from lmcot_cli.commands.printable import as_text, printable
from lmcot_cli.pipeline.preview import CHARACTERS_A_TOKEN, Preview


def show_preview(preview: Preview) -> None:
    """Print the prompts of the first row, then what all rows come to."""
    with stdout_console() as console:
        for stage in preview.stages:
            console.print(Text(f"── {stage.stage}, to {printable(stage.model)} ──", style="bold"))
            console.print(
                Text("\n".join(map(printable, stage.prompt.splitlines())), style="dim"), soft_wrap=True
            )
            console.print()
        console.print(_table(preview))
        failing = f", and {preview.bad:,} that would fail" if preview.bad else ""
        console.print(f"{preview.rows:,} rows{failing}. No model was asked.")
        console.print(
            f"At most: all samples drawn, all completions as long as they may be; {CHARACTERS_A_TOKEN} characters a"
            " prompt token.",
            style="dim",
        )


def _table(preview: Preview) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stage", no_wrap=True)
    table.add_column("model")
    for heading in ("requests", "prompt tokens", "completion tokens", "cost", "memory"):
        table.add_column(heading, justify="right")
    for stage in preview.stages:
        counts = (stage.requests, stage.tokens.prompt, stage.tokens.completion)
        cost = f"{stage.cost:.4g}" if stage.cost else "-"
        memory = f"{stage.memory / 1e6:.0f} MB" if stage.memory else "-"
        table.add_row(stage.stage, as_text(stage.model), *(f"{count:,}" for count in counts), cost, memory)
    return table
