"""`lmcot bench`: how fast this machine writes samples of a model, and with which settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.bench.options import BenchOptions
from lmcot_cli.commands.bench_report import announce, show
from lmcot_cli.models import catalogue, embedded, hub
from lmcot_cli.settings.declaration import Given, build, takes

DEFAULT_MODEL = "builtin:small"

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot bench model.gguf --threads 2[/cyan]  the rates of a model at each width, and the settings to use

[cyan]lmcot bench model.q4_0.gguf model.q8_0.gguf[/cyan]  which type of weights is faster here
"""


@takes(BenchOptions)
def bench(
    given: Given,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="GGUF files, builtin:small, names of the catalogue, or hf:ORG/REPO:FILE.gguf.",
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure how fast samples are written here, by width and type, and say which settings to use."""
    from lmcot_cli.bench.measure import Benchmark

    options = build(BenchOptions, given)
    benchmark = Benchmark({spec: locate(spec) for spec in models or [DEFAULT_MODEL]}, options)
    try:
        benchmark.run(announce)
    finally:  # after an error or Ctrl-C too: what was measured by then
        show(benchmark.report, as_json=as_json)


def locate(spec: str) -> Path:
    """Return the GGUF file that a spec names, downloaded if need be.

    Raises:
        ModelError: There is no such model.
    """
    entry = catalogue.find(spec)
    named = entry.spec if entry else spec
    if named.startswith(embedded.SCHEME):
        return embedded.path_of(named)
    if named.startswith(hub.SCHEME):
        return hub.download(hub.parse(named))
    return Path(named.removeprefix("gguf:"))
