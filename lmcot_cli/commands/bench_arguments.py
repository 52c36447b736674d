"""The arguments and options of `lmcot bench`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.bench.options import BenchOptions

_WORK, _PEERS, _OUTPUT = "Workload", "Other programs", "Output"
DEFAULTS = BenchOptions()
DEFAULT_MODEL = "builtin:small"
DEFAULT_WIDTHS = ",".join(map(str, DEFAULTS.widths))


class Shape(StrEnum):
    """The shapes of `lmcot_cli.bench.shapes`."""

    M135 = "135m"
    M360 = "360m"
    M500 = "500m"


class Quantization(StrEnum):
    """The types of weights that a random model can have."""

    Q4_0 = "q4_0"
    Q8_0 = "q8_0"
    F16 = "f16"


ModelArgument = Annotated[
    str | None,
    typer.Argument(
        help="A GGUF file, builtin:small, a name of the catalogue, or hf:ORG/REPO:FILE.gguf.",
        show_default=DEFAULT_MODEL,
    ),
]
ShapeOption = Annotated[
    Shape | None, typer.Option("--shape", help="Make a model of this size with random weights, and keep it.")
]
QuantizeOption = Annotated[Quantization, typer.Option("--quantize", help="Type of the weights of --shape.")]
WidthsOption = Annotated[
    str, typer.Option("--widths", metavar="N,N,...", help="Sequences decoded at once, each measured.")
]
RepeatsOption = Annotated[
    int, typer.Option("--repeats", help="Measured runs of every part; the median counts.")
]
ThreadsOption = Annotated[
    int, typer.Option("--threads", help="Threads that compute.", show_default="the usable cores")
]
GpuLayersOption = Annotated[int, typer.Option("--gpu-layers", help="Layers to put on a GPU; -1 is all.")]
ProfileOption = Annotated[
    bool, typer.Option("--profile", help="Say what takes the time outside llama.cpp: one more run a width.")
]
PromptsOption = Annotated[int, typer.Option("--prompts", help="Different prompts.", rich_help_panel=_WORK)]
PromptTokensOption = Annotated[
    int, typer.Option("--prompt-tokens", help="Tokens of a prompt, exactly.", rich_help_panel=_WORK)
]
SamplesOption = Annotated[
    int, typer.Option("--samples", "-k", help="Completions a prompt.", rich_help_panel=_WORK)
]
NewTokensOption = Annotated[
    int, typer.Option("--new-tokens", help="Tokens a completion, exactly.", rich_help_panel=_WORK)
]
TemperatureOption = Annotated[
    float, typer.Option("--temperature", help="Of what is sampled; 0 is greedy.", rich_help_panel=_WORK)
]
TopPOption = Annotated[
    float,
    typer.Option(
        "--top-p", help="Sample from the likeliest tokens that hold this much.", rich_help_panel=_WORK
    ),
]
HighLevelOption = Annotated[
    bool,
    typer.Option(
        "--high-level/--no-high-level",
        help="Measure llama-cpp-python's Llama, one sample after another.",
        rich_help_panel=_PEERS,
    ),
]
PeerUrlOption = Annotated[
    str | None,
    typer.Option(
        "--peer-url", metavar="URL", help="A running llama-server with this model.", rich_help_panel=_PEERS
    ),
]
PeerTransformersOption = Annotated[
    Path | None,
    typer.Option(
        "--peer-transformers",
        metavar="DIR",
        help="The same model as transformers loads it; needs the extra train.",
        rich_help_panel=_PEERS,
    ),
]
PeerConcurrencyOption = Annotated[
    int,
    typer.Option(
        "--peer-concurrency", help="Requests or sequences a peer gets at a time.", rich_help_panel=_PEERS
    ),
]
AsJsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of a table.", rich_help_panel=_OUTPUT)
]
PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE.png",
        help="Draw rate against width; needs the extra plot.",
        rich_help_panel=_OUTPUT,
    ),
]
