"""`lmcot bench`: how fast this machine writes samples of a model, beside llama.cpp alone and other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lmcot_cli.bench.options import BenchOptions
from lmcot_cli.bench.shapes import ShapeName
from lmcot_cli.commands.bench_report import announce, show
from lmcot_cli.errors import UsageError
from lmcot_cli.models import catalogue, embedded, hub
from lmcot_cli.settings.declaration import Given, build, takes

DEFAULT_MODEL = "builtin:small"
_OUTPUT = "Output"
WeightType = Literal["q4_0", "q8_0", "f16"]

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot bench model.gguf --threads 2[/cyan]  the table, for a model of yours

[cyan]lmcot bench --shape 135m --quantize q4_0 --plot rates.png[/cyan]  with no model at all

[cyan]lmcot bench model.gguf --widths 16 --peer-url http://127.0.0.1:8080[/cyan]  against a running llama-server
"""


@takes(BenchOptions)
def bench(
    given: Given,
    model: Annotated[
        str | None,
        typer.Argument(
            help="A GGUF file, builtin:small, a name of the catalogue, or hf:ORG/REPO:FILE.gguf.",
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    shape: Annotated[
        ShapeName | None,
        typer.Option("--shape", help="Make a model of this size with random weights, and keep it."),
    ] = None,
    quantize: Annotated[
        WeightType, typer.Option("--quantize", help="Type of the weights of --shape.")
    ] = "q4_0",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of a table.", rich_help_panel=_OUTPUT)
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.png",
            help="Draw rate against width; needs the extra plot.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
) -> None:
    """Measure how fast samples are written here: by lmcot, by llama.cpp alone, and by other programs."""
    from lmcot_cli.bench.measure import Benchmark
    from lmcot_cli.bench.plot import check_plot

    if plot:
        check_plot(plot)
    options = build(BenchOptions, given)
    path = _model_file(model, shape, quantize)
    benchmark = Benchmark(path, model or path.stem, options)
    try:
        benchmark.run(announce)
    finally:  # after an error or Ctrl-C too: what was measured by then
        show(benchmark.report, as_json=as_json, plot=plot)


def _model_file(model: str | None, shape: ShapeName | None, weights: WeightType) -> Path:
    """Find the file to measure, or make it.

    Raises:
        UsageError: A model and a shape are both given.
        ModelError: There is no such model.
    """
    if shape is None:
        return _locate(model or DEFAULT_MODEL)
    if model is not None:
        raise UsageError(f"{model} and --shape {shape}: name a model or have one made, not both")
    from lmcot_cli.bench.random_model import random_model

    return random_model(shape, weights)


def _locate(spec: str) -> Path:
    entry = catalogue.find(spec)
    named = entry.spec if entry else spec
    if named.startswith(embedded.SCHEME):
        return embedded.path_of(named)
    if named.startswith(hub.SCHEME):
        return hub.download(hub.parse(named))
    return Path(named.removeprefix("gguf:"))
