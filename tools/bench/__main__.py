"""Start a comparison; see the package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from lmcot_cli.commands.app import App
from lmcot_cli.commands.bench import DEFAULT_MODEL, locate
from lmcot_cli.errors import LmcotError, UsageError
from lmcot_cli.settings.declaration import Given, build, takes
from tools.bench.options import ComparisonOptions
from tools.bench.shapes import ShapeName
from tools.bench.table import announce, show

_OUTPUT = "Output"
WeightType = Literal["q4_0", "q8_0", "f16"]

EPILOG = """\
[bold]Examples[/bold]

[cyan]python -m tools.bench model.gguf --threads 2[/cyan]  the table, for a model of yours

[cyan]python -m tools.bench --shape 135m --quantize q4_0 --plot rates.png[/cyan]  with no model at all

[cyan]python -m tools.bench model.gguf --widths 16 --peer-url http://127.0.0.1:8080[/cyan]  beside llama-server
"""


@takes(ComparisonOptions)
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
    from tools.bench.measure import Comparison
    from tools.bench.plot import check_plot

    if plot:
        check_plot(plot)
    options = build(ComparisonOptions, given)
    path = _model_file(model, shape, quantize)
    comparison = Comparison(path, model or path.stem, options)
    try:
        comparison.run(announce)
    finally:  # after an error or Ctrl-C too: what was measured by then
        show(comparison.report, as_json=as_json, plot=plot)


def _model_file(model: str | None, shape: ShapeName | None, weights: WeightType) -> Path:
    """Find the file to measure, or make it.

    Raises:
        UsageError: A model and a shape are both given.
        ModelError: There is no such model.
    """
    if shape is None:
        return locate(model or DEFAULT_MODEL)
    if model is not None:
        raise UsageError(f"{model} and --shape {shape}: name a model or have one made, not both")
    from tools.bench.random_model import random_model

    return random_model(shape, weights)


app = App(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
app.command(epilog=EPILOG)(bench)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; what the user did wrong is one line and an exit code."""
    try:
        app(args=arguments, prog_name="python -m tools.bench")
    except LmcotError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
