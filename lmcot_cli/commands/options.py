"""Options that commands share, declared once; their defaults are those of the dataclasses they fill.

Every option is None where it was not given, so that a settings file can come in between.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.backends.llama.options import Dtype
from lmcot_cli.pipeline.options import AnswerOptions, Method

DEFAULTS = AnswerOptions()

_MODELS, _SAMPLING, _ENGINE, _OUTPUT = "Models", "Sampling", "Engine", "Output"

MethodOption = Annotated[
    Method | None,
    typer.Option(
        "--method",
        help="standard: answer at once. cot: by the large LM's own chain. guided: by the small's rationale.",
        show_default=DEFAULTS.method,
    ),
]
SmallOption = Annotated[
    str | None,
    typer.Option(
        "--small",
        metavar="SPEC",
        help="LM that writes rationales: a GGUF file, hf:ORG/REPO:FILE.gguf, a folder or hub id of transformers,"
        " a name of `models list` or lmcot.toml.",
        show_default=DEFAULTS.small,
        rich_help_panel=_MODELS,
    ),
]
SmallAdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--small-adapter",
        metavar="[NAME=]FILE[:SCALE]",
        help="LoRA adapter (GGUF) to add to the small LM; give it again for several.",
        rich_help_panel=_MODELS,
    ),
]
LargeOption = Annotated[
    str | None,
    typer.Option(
        "--large",
        metavar="SPEC",
        help="LM that answers; named like the small one.",
        show_default=DEFAULTS.large,
        rich_help_panel=_MODELS,
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="DIR", help="Folder with prompt templates of your own.", rich_help_panel=_MODELS
    ),
]
GivenRationalesOption = Annotated[
    bool | None,
    typer.Option(
        "--given-rationales/--no-given-rationales",
        help="Answer from the rationale that each row brings; no small LM is loaded.",
        show_default="off",
        rich_help_panel=_MODELS,
    ),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        "--samples",
        "-k",
        help="Samples a row; their answers are voted on.",
        show_default=str(DEFAULTS.samples),
        rich_help_panel=_SAMPLING,
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        help="Of what is sampled; 0 is greedy.",
        show_default="0 for one sample, 0.7 for several",
        rich_help_panel=_SAMPLING,
    ),
]
TopPOption = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        help="Sample from the likeliest tokens that hold this much probability.",
        show_default=f"{DEFAULTS.top_p:g}",
        rich_help_panel=_SAMPLING,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", help="Seed of the run.", show_default=str(DEFAULTS.seed), rich_help_panel=_SAMPLING
    ),
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        help="Tokens a rationale or chain may take.",
        show_default=str(DEFAULTS.max_tokens),
        rich_help_panel=_SAMPLING,
    ),
]
MaxAnswerTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-answer-tokens",
        help="Tokens an answer may take.",
        show_default=str(DEFAULTS.max_answer_tokens),
        rich_help_panel=_SAMPLING,
    ),
]
DeterministicOption = Annotated[
    bool | None,
    typer.Option(
        "--deterministic/--no-deterministic",
        help="One row a batch: slower, but the same bytes again on the same machine.",
        show_default="off",
        rich_help_panel=_SAMPLING,
    ),
]
ParallelOption = Annotated[
    int | None,
    typer.Option(
        "--parallel",
        help="Most sequences decoded in one batch.",
        show_default="auto",
        rich_help_panel=_ENGINE,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", help="Threads that compute.", show_default="the usable cores", rich_help_panel=_ENGINE
    ),
]
NCtxOption = Annotated[
    int | None,
    typer.Option(
        "--n-ctx",
        help="Most tokens of a prompt and its completion.",
        show_default="the model's own",
        rich_help_panel=_ENGINE,
    ),
]
GpuLayersOption = Annotated[
    int | None,
    typer.Option(
        "--gpu-layers",
        help="Layers to put on a GPU; -1 is all.",
        show_default=str(DEFAULTS.engine.gpu_layers),
        rich_help_panel=_ENGINE,
    ),
]
KvMibOption = Annotated[
    int | None,
    typer.Option(
        "--kv-mib",
        help="Most memory for the KV cache, in MiB.",
        show_default=str(DEFAULTS.engine.kv_mib),
        rich_help_panel=_ENGINE,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where transformers computes: cpu, cuda, cuda:1...",
        show_default="a GPU where there is one",
        rich_help_panel=_ENGINE,
    ),
]
DtypeOption = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype",
        help="What transformers computes in.",
        show_default="float32 on a CPU, the model's own on a GPU",
        rich_help_panel=_ENGINE,
    ),
]
TrustRemoteCodeOption = Annotated[
    bool | None,
    typer.Option(
        "--trust-remote-code/--no-trust-remote-code",
        help="Run the Python code that a model's repository brings.",
        show_default="off",
        rich_help_panel=_ENGINE,
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", help="Answer the first N rows only.", show_default="all rows"),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file to use.",
        show_default="lmcot.toml here, else in the user's configuration folder",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="Write results to OUT, going on where an earlier run of the same settings ended.",
        rich_help_panel=_OUTPUT,
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Start OUT anew, whatever it holds.", rich_help_panel=_OUTPUT)
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSONL, on a terminal too.", rich_help_panel=_OUTPUT)
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="No progress, warnings or summary on stderr.", rich_help_panel=_OUTPUT
    ),
]
